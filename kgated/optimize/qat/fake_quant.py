"""The numbers that an integer tensor can hold, and how training rounds to them.

Equations, for a scale s and limits l and u in steps of it, zero among them::

    q(x) = s · clip(round(x/s), l, u)        ∂q/∂x = 1 where l ≤ round(x/s) ≤ u, else 0

The gradient is the clipped straight-through estimate: a value that saturates is not pushed further.
Rounding is to the nearest, ties to even, as the kernels do it.

Reference: Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference"; Bengio et al. 2013 for the gradient.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

Array = Any
LEAST_RANGE = 1e-9  # the quantizer's own, so that no scale is zero


def has_float64() -> bool:
    """Whether the backend of Keras computes in float64 without being told to."""
    return keras.backend.backend() != "jax"


def _quotient(x: Array, by: int) -> Array:
    """`x / by` to the last bit: TensorFlow's graphs multiply by the rounded 1/by instead."""
    if not has_float64():
        return x / by
    return ops.cast(ops.cast(x, "float64") / by, "float32")


class Grid(NamedTuple):
    """What a tensor can hold: `scale` times the integers from `low` to `high`."""

    scale: Array
    low: Array
    high: Array

    def limits(self) -> tuple[Array, Array]:
        """The least and the largest number."""
        return self.low * self.scale, self.high * self.scale


@dataclass(frozen=True)
class Scheme:
    """Which integers stand for activations; weights are int8 in each scheme.

    Attributes:
        name: as the recipe of a conversion spells it.
        least, most: the integers.
        symmetric: whether the integer 0 stands for 0.
        sigmoid, tanh: the grids that the kernels of these functions fix for their results.
    """

    name: str
    least: int
    most: int
    symmetric: bool
    sigmoid: Grid
    tanh: Grid

    def grid(self, least: Array, most: Array) -> Grid:
        """The grid for values from `least` to `most`, in the quantizer's own arithmetic."""
        if self.symmetric:
            bound = ops.maximum(ops.maximum(ops.abs(least), ops.abs(most)), LEAST_RANGE)
            return Grid(_quotient(bound, self.most), float(self.least), float(self.most))
        most, least = ops.maximum(most, 0.0), ops.minimum(least, 0.0)
        scale = _quotient(ops.maximum(most - least, LEAST_RANGE), self.most - self.least)
        zero = ops.round(self.least - least / scale)
        return Grid(scale, self.least - zero, self.most - zero)

    def range_of(self, v: Array) -> Grid:
        """The grid of all that an array holds."""
        still = ops.stop_gradient(v)
        return self.grid(ops.min(still), ops.max(still))


SCHEMES = {
    "int8": Scheme(
        "int8", -128, 127, False, Grid(1 / 256, 0.0, 255.0), Grid(1 / 128, -128.0, 127.0)
    ),
    "int16x8": Scheme(
        "int16x8",
        -32768,
        32767,
        True,
        Grid(1 / 32768, -32768.0, 32767.0),
        Grid(1 / 32768, -32768.0, 32767.0),
    ),
}
# By the function whose result the kernels put on a grid of their own.
FIXED = {"sigmoid": "sigmoid", "softmax": "sigmoid", "tanh": "tanh"}


def rounded(x: Array, grid: Grid, step: Array | None = None) -> Array:
    """X on its grid, with the gradient of the equations above.

    Args:
        x: any shape.
        grid: for all of it, or for each column.
        step: where x is a number of exact steps but for what float32 lost: their size, for each
            column. A value halfway between two of the grid's then goes where the kernel puts it.
    """
    inverse = 1.0 if step is None else step / grid.scale
    step = grid.scale if step is None else step

    @ops.custom_gradient
    def to_grid(
        x: Array, step: Array, inverse: Array, scale: Array, low: Array, high: Array
    ) -> Any:
        nearest = ops.round(ops.round(x / step) * inverse)
        inside = ops.logical_and(nearest >= low, nearest <= high)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            above = args[0] if upstream is None else upstream
            none = map(ops.zeros_like, (step, inverse, scale, low, high))
            return ops.where(inside, above, 0.0), *none

        return ops.clip(nearest, low, high) * scale, gradient

    parts = step, inverse, *grid
    return to_grid(x, *(ops.convert_to_tensor(part, x.dtype) for part in parts))


def matrix_grid(W: Array) -> Grid:
    """The grid of a product's weights: int8, symmetric, a scale for each output (last axis)."""
    axes = tuple(range(len(W.shape) - 1))
    bound = ops.maximum(ops.max(ops.abs(W), axis=axes), LEAST_RANGE)
    return Grid(ops.stop_gradient(_quotient(bound, 127)), -127.0, 127.0)
