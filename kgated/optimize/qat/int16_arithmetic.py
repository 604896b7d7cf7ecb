"""How the kernels of int16x8 round, in float64, so that not one value is another.

An int16 has steps so small that one of them off in a state is several in the result. So a model in
this scheme computes its results in float64, where every sum of products is exact, and rounds each
as its kernel does. A ratio M of scales is a multiplier m of 31 bits and a shift, `M ≈ m·2^(e-31)`;
an integer k becomes, with ⌊·⌉ for `floor(· + 1/2)`::

    sum            ⌊k·m·2^(e-31)⌉                    FULLY_CONNECTED with a bias
    bare           ⌊⌊k·m·2^-31⌉·2^e⌉                 FULLY_CONNECTED without
    product        the same, halves away from zero    MUL, ADD, SUB
    convolution    ⌊k·⌊m·2^-16⌉·2^(e-15)⌉            CONV_2D

Training computes in float32, where one value in a thousand is a step off, which it does not feel.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from keras import ops

from kgated.optimize.qat.fake_quant import Array, Grid

EXACT = "float64"
HEADROOM = 2.0**15  # by which ADD and SUB shift their operands first


class Unit(NamedTuple):
    """What a value is a whole number of before its kernel rounds it, and which kernel."""

    size: Array
    kernel: str


class _Multiplier(NamedTuple):
    """`m·2^-31` and e."""

    share: Array
    exponent: Array


def _multiplier(ratio: Array) -> _Multiplier:
    exponent = ops.floor(ops.log2(ratio)) + 1.0
    share = ops.round(ratio * ops.power(2.0, 31.0 - exponent)) * 2.0**-31
    return _Multiplier(share, exponent)


def _half_up(x: Array) -> Array:
    return ops.floor(x + 0.5)


def _half_away(x: Array) -> Array:
    return ops.sign(x) * _half_up(ops.abs(x))


def _twice_rounded(k: Array, ratio: Array, last: Callable[[Array], Array]) -> Array:
    share, exponent = _multiplier(ratio)
    high = _half_up(k * ops.power(2.0, ops.maximum(exponent, 0.0)) * share)
    return last(high * ops.power(2.0, ops.minimum(exponent, 0.0)))


def _sum(k: Array, ratio: Array) -> Array:
    share, exponent = _multiplier(ratio)
    return _half_up(k * share * ops.power(2.0, exponent))


def _bare(k: Array, ratio: Array) -> Array:
    return _twice_rounded(k, ratio, _half_up)


def _product(k: Array, ratio: Array) -> Array:
    return _twice_rounded(k, ratio, _half_away)


def _convolution(k: Array, ratio: Array) -> Array:
    share, exponent = _multiplier(ratio)
    short = ops.minimum(_half_up(share * 2.0**15), 2.0**15 - 1.0)
    return _half_up(k * short * ops.power(2.0, exponent - 15.0))


KERNELS: Mapping[str, Callable[[Array, Array], Array]] = {
    "sum": _sum,
    "bare": _bare,
    "product": _product,
    "convolution": _convolution,
}


def requantized(x: Array, unit: Unit, grid: Grid) -> Array:
    """X, a whole number of units, on a grid; float64; the gradient passes through."""
    ratio = unit.size / grid.scale
    if unit.kernel == "product":  # of this ratio alone the kernel takes the float32
        single = ops.cast(unit.size, "float32") / ops.cast(grid.scale, "float32")
        ratio = ops.cast(single, EXACT)
    return _on(grid, KERNELS[unit.kernel](ops.round(x / unit.size), ratio), x)


def added(one: Array, other: Array, sign: int, grids: tuple[Grid, Grid, Grid]) -> Array:
    """`one + sign · other` on the third grid; float64; the gradient passes through."""
    scales = [ops.convert_to_tensor(grid.scale, EXACT) for grid in grids]
    twice = 2.0 * ops.maximum(scales[0], scales[1])
    a, b = (
        _product(ops.round(x / s) * HEADROOM, s / twice)
        for x, s in zip((one, other), scales, strict=False)
    )
    total = _product(a + sign * b, twice / (HEADROOM * scales[2]))
    return _on(grids[2], total, one + sign * other)


def _on(grid: Grid, nearest: Array, x: Array) -> Array:
    return x + ops.stop_gradient(ops.clip(nearest, grid.low, grid.high) * grid.scale - x)
