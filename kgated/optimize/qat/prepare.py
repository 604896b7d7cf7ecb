"""Which layers a device computes by one operator, and which by several."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.optimize.qat.fake_quant import Array

ELEMENTWISE: Mapping[type, Callable[[Array, Array], Array]] = {
    keras.layers.Add: ops.add,
    keras.layers.Subtract: ops.subtract,
    keras.layers.Multiply: ops.multiply,
}


def consumers(layer: Any) -> list[Any]:
    """The layers that take a layer's results, one for each time."""
    return [node.operation for node in layer._outbound_nodes]


def joined_layers(model: keras.Model) -> frozenset[str]:
    """Names of layers whose operator goes on with the next layer.

    Batch normalization and ReLU are parts of the product before them; what only a Concatenate
    reads is written by its operator in the range of the whole.
    """
    ends = {x._keras_history.operation.name for x in model.outputs}
    return frozenset(
        layer.name for layer in model.layers if layer.name not in ends and _goes_on(layer)
    )


def _goes_on(layer: keras.Layer) -> bool:
    after = consumers(layer)
    if len(after) != 1 or len(layer._inbound_nodes) != 1:
        return False
    (following,), function = after, getattr(layer, "activation", keras.activations.linear)
    is_product = isinstance(layer, keras.layers.Dense | keras.layers.Conv1D)
    linear = function is keras.activations.linear
    if isinstance(following, keras.layers.Concatenate):
        ends_in_product = is_product and not comes_apart(layer)
        return ends_in_product or isinstance(layer, (*ELEMENTWISE, keras.layers.BatchNormalization))
    if isinstance(following, keras.layers.BatchNormalization):
        return is_product and linear
    if not isinstance(following, keras.layers.ReLU | keras.layers.Activation):
        return False
    is_sum = isinstance(layer, keras.layers.BatchNormalization) or (is_product and linear)
    return is_sum and activation_of(following) is keras.activations.relu


def comes_apart(layer: keras.Layer) -> bool:
    """Whether the activation of a layer of products is an operator of its own."""
    return layer.activation not in (keras.activations.linear, keras.activations.relu)


def is_normalized(layer: keras.Layer) -> bool:
    """Whether a layer of products goes on with batch normalization."""
    (after,) = consumers(layer)
    return isinstance(after, keras.layers.BatchNormalization)


def activation_of(layer: keras.Layer) -> Any:
    """The function of a layer that is an activation, or has one."""
    if isinstance(layer, keras.layers.Softmax):
        return keras.activations.softmax
    if not isinstance(layer, keras.layers.ReLU):
        return getattr(layer, "activation", None)
    plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
    return keras.activations.relu if plain else layer
