"""Integer activations: fused into another operator, by a kernel, or by a lookup table.

| activation | on the device |
|---|---|
| linear, relu, relu6 | the limits of the result of the operator before |
| sigmoid, softmax, tanh | a kernel that fixes the parameters of its result |
| leaky_relu, PReLU | a kernel that multiplies by the slope |
| any other that acts on each number alone | a table with an entry for each integer |
"""

from collections.abc import Callable
from typing import Any

import keras

INCLUDED = ("linear", "relu", "relu6")
TABLES = frozenset(
    {
        *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu"),
        *("hard_tanh", "log_sigmoid", "mish", "selu", "silu", "soft_shrink", "softplus"),
        *("softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh_shrink"),
    }
)
# Layers that are an elementwise function for all arguments.
TABLE_LAYERS = (keras.layers.ELU, keras.layers.ReLU)
LEAKY_SLOPE = 0.2  # of `keras.activations.leaky_relu`


def function_name(function: Any) -> str:
    """The name of an activation function, or of the class of an activation layer."""
    if isinstance(function, keras.layers.ReLU):
        return _relu_name(function)
    if isinstance(function, keras.layers.LeakyReLU):
        return "leaky_relu"
    return getattr(function, "__name__", type(function).__name__)


def _relu_name(layer: keras.layers.ReLU) -> str:
    plain = not layer.negative_slope and not layer.threshold
    if plain and layer.max_value is None:
        return "relu"
    if plain and layer.max_value == 6.0:
        return "relu6"
    only_slope = layer.max_value is None and not layer.threshold
    return "leaky_relu" if only_slope else "ReLU"


def slope_of(function: Any) -> float:
    """The slope of a leaky ReLU for negative numbers."""
    return float(getattr(function, "negative_slope", LEAKY_SLOPE))


def is_included(function: Any) -> bool:
    """Whether the preceding integer operator includes the activation."""
    return function_name(function) in INCLUDED


def has_table(function: Callable[..., Any]) -> bool:
    """Whether a lookup table computes the activation."""
    return function_name(function) in TABLES or isinstance(function, TABLE_LAYERS)
