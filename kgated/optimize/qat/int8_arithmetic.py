"""What the integer kernels compute where it is not the rounded result of the exact one.

A product of int8 numbers is a sum of integers, an exact number of steps s_x·s_W, and is rounded
once, to a step s of the result. A sum is computed with multipliers of 21 bits::

    a + b ≈ s · ((q_a·m_a + q_b·m_b + 2^(n-1)) >> n)        m_a = round(s_a/s · 2^n)

with n so that the larger multiplier has 21 bits. It differs from the exact sum rounded in one of
some thousand values, and a recurrent network carries each on from step to step.
"""

from typing import Any, NamedTuple

from keras import ops

from kgated.optimize.qat.fake_quant import Array, Grid

MULTIPLIER_BITS = 20


class Adder(NamedTuple):
    """The multipliers of the operands, and by how many bits their sum is shifted: int32."""

    one: Array
    other: Array
    shift: Array


def adder(one: Array, other: Array, result: Array) -> Adder:
    """From the scales of the operands and of the result, of any shape."""
    first, second = one / result, other / result
    exponent = ops.floor(ops.log2(ops.maximum(first, second)))
    shift = MULTIPLIER_BITS - exponent
    factor = ops.power(2.0, shift)
    first, second = (ops.cast(ops.round(x * factor), "int32") for x in (first, second))
    return Adder(first, second, ops.cast(shift, "int32"))


def requantized(x: Array, before: Grid, after: Grid) -> Array:
    """X (on a grid) on another one, by a multiplier in steps of 1/256; gradient as `rounded`."""

    @ops.custom_gradient
    def to_grid(x: Array, first: Array, scale: Array, low: Array, high: Array) -> Any:
        multiplier = ops.round(256.0 * first / scale)
        nearest = ops.floor((ops.round(x / first) * multiplier + 128.0) / 256.0)
        inside = ops.logical_and(nearest >= low, nearest <= high)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            above = args[0] if upstream is None else upstream
            none = map(ops.zeros_like, (first, scale, low, high))
            return ops.where(inside, above, 0.0), *none

        return ops.clip(nearest, low, high) * scale, gradient

    parts = before.scale, *after
    return to_grid(x, *(ops.convert_to_tensor(part, "float32") for part in parts))


def added(one: Array, other: Array, sign: int, grids: tuple[Grid, Grid, Grid], by: Adder) -> Array:
    """`one + sign · other` on the third grid; the gradient as for `rounded`."""

    @ops.custom_gradient
    def to_grid(one: Array, other: Array, *scales: Array) -> Any:
        first, second, scale, low, high = scales
        q_one, q_other = (
            ops.cast(ops.round(x / s), "int32") for x, s in ((one, first), (other, second))
        )
        half = ops.left_shift(ops.ones_like(by.shift), by.shift - 1)
        total = q_one * by.one + sign * q_other * by.other + half
        nearest = ops.cast(ops.right_shift(total, by.shift), one.dtype)
        inside = ops.logical_and(nearest >= low, nearest <= high)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            above = ops.where(inside, args[0] if upstream is None else upstream, 0.0)
            return above, sign * above, *map(ops.zeros_like, scales)

        return ops.clip(nearest, low, high) * scale, gradient

    parts = grids[0].scale, grids[1].scale, *grids[2]
    return to_grid(one, other, *(ops.convert_to_tensor(part, "float32") for part in parts))
