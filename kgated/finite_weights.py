"""Checks of a model's weights before work is done with them."""

import keras
import numpy as np

from kgated.keras_internals.graph import flatten_layers


def check_finite_weights(model: keras.Model) -> None:
    """Refuse a model whose training went to NaN or inf.

    Raises:
        ValueError: with the layer and the weight.
    """
    for layer in reversed(flatten_layers(model, include_self=False)):  # inner before outer ones
        for weight in layer.weights:
            values = np.asarray(keras.ops.convert_to_numpy(weight))
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(
                    f"`model` holds NaN or inf in weight `{weight.name}` of layer `{layer.name}`: "
                    "its training diverged; load weights from before, or train again with a "
                    "smaller learning rate or `clipnorm` in the optimizer"
                )
