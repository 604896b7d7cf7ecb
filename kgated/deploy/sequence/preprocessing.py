"""Layers that prepare data: without a builtin operator, or without a range of integers."""

from collections.abc import Collection, Mapping

import keras

from kgated.errors import ConversionError
from kgated.keras_internals.graph import flatten_layers

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


def check_decibels(model: keras.Model, bits: int | None, skip: Collection[str] = ()) -> None:
    """Refuse logarithms of powers in integers, which have too few steps for the small powers.

    Args:
        model: the model.
        bits: of an activation; None: those of a product alone have 8, and are float before it.
        skip: names of layers that stay in float.

    Raises:
        ConversionError: names the layer.
    """
    for layer in flatten_layers(model, include_self=False):
        mel = isinstance(layer, keras.layers.MelSpectrogram) and layer.power_to_db
        stft = isinstance(layer, keras.layers.STFTSpectrogram) and layer.mode == "log"
        if layer.name not in skip and (mel or (stft and bits == 8)):
            raise ConversionError(
                f"layer `{layer.name}` ({type(layer).__name__}) gives logarithms of powers, and "
                f"small powers are 0 in {bits or 8} bits; compute the spectra before the model, or "
                f"keep the layer in float by `skip=['{layer.name}']`"
            )
