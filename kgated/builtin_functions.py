"""Functions of one tensor by others of `keras.ops`, for which `.tflite` files have operators."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: the error is below 2e-7.
_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
_ERF_RATE = 0.3275911
_SMALL = 0.1  # below, a series is more exact than differences of larger numbers


def arctan(x: Any) -> Any:
    """The angle of the point (1, x)."""
    return ops.arctan2(x, ops.ones_like(x))


def arcsin(x: Any) -> Any:
    """The angle whose sine is x, from -1 to 1."""
    return ops.arctan2(x, ops.sqrt((1 - x) * (1 + x)))


def arccos(x: Any) -> Any:
    """The angle whose cosine is x, from -1 to 1."""
    return ops.arctan2(ops.sqrt((1 - x) * (1 + x)), x)


def tan(x: Any) -> Any:
    """sin(x) / cos(x)."""
    return ops.sin(x) / ops.cos(x)


def sinh(x: Any) -> Any:
    """(exp(x) - exp(-x)) / 2, near 0 as a series."""
    series = x * (1 + ops.square(x) / 6)
    return ops.where(ops.abs(x) < _SMALL, series, (ops.exp(x) - ops.exp(-x)) / 2)


def cosh(x: Any) -> Any:
    """(exp(x) + exp(-x)) / 2."""
    return (ops.exp(x) + ops.exp(-x)) / 2


def arcsinh(x: Any) -> Any:
    """sign(x) · log(|x| + √(x² + 1)), near 0 as a series."""
    size = ops.abs(x)
    large = ops.sign(x) * ops.log(size + ops.sqrt(ops.square(size) + 1))
    return ops.where(size < _SMALL, x * (1 - ops.square(x) / 6 + ops.power(size, 4) * 0.075), large)


def arccosh(x: Any) -> Any:
    """log(x + √(x² - 1)), for x from 1."""
    return ops.log(x + ops.sqrt((x - 1) * (x + 1)))


def arctanh(x: Any) -> Any:
    """log((1 + x) / (1 - x)) / 2, near 0 as a series."""
    large = ops.log((1 + x) / (1 - x)) / 2
    return ops.where(ops.abs(x) < _SMALL, x * (1 + ops.square(x) / 3 + ops.power(x, 4) / 5), large)


def erf(x: Any) -> Any:
    """The error function, by a polynomial times exp(-x²), near 0 as a series."""
    size, polynomial = ops.abs(x), 0.0
    t = 1 / (1 + _ERF_RATE * size)
    for factor in reversed(_ERF):
        polynomial = (polynomial + factor) * t
    large = ops.sign(x) * (1 - polynomial * ops.exp(-ops.square(x)))
    series = 2 / math.sqrt(math.pi) * x * (1 - ops.square(x) / 3 + ops.power(size, 4) / 10)
    return ops.where(size < _SMALL, series, large)


OF_NUMBERS: Mapping[str, Callable[[Any], Any]] = {
    function.__name__: function
    for function in (arctan, arcsin, arccos, tan, sinh, cosh, arcsinh, arccosh, arctanh)
}
