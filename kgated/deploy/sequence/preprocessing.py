"""Layers for data before a model that no builtin operator computes."""

from collections.abc import Mapping

import keras

from kgated.errors import ConversionError
from kgated.keras_graph import flatten_layers

REASONS: Mapping[type, str] = {
    keras.layers.Hashing: "hashes",
    keras.layers.HashedCrossing: "hashes",
    keras.layers.IntegerLookup: "looks integers up in a table of any size",
    keras.layers.StringLookup: "looks strings up",
    keras.layers.TextVectorization: "splits strings",
}


def check_preprocessing(model: keras.Model) -> None:
    """Refuse layers of data preparation.

    Raises:
        ConversionError: names the layer.
    """
    for layer in flatten_layers(model, include_self=False):
        reason = next((text for kind, text in REASONS.items() if isinstance(layer, kind)), None)
        if reason is not None:
            raise ConversionError(
                f"layer `{layer.name}` ({type(layer).__name__}) {reason}, which no builtin "
                "operator does; compute it before the model, and give the model its results"
            )
