"""Lookup tables of the 16-bit kernels for σ and tanh, with linear interpolation.

Both kernels read one table of σ at multiples of 1/24, since tanh(x) = 2·σ(2x) - 1. An entry lies
between the curve and the chord: the error inside an interval equals the error at its ends::

    t_n = 2^16·(σ(n/24) - σ''(n/24)/(16·24²))

The kernel multiplies the integer q of scale s: d = q·m >> k, with m of 15 bits. d approximates
3·2^12·s·q. Since m is rounded down, a result differs from the rounded exact one by up to three
steps of 2^-15, always in one direction. The error accumulates in a recurrent network.

The kernels have another code path for s of exactly 2^-12 (tanh: also 2^-11). No learned range has
such a scale.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from keras import ops

from kgated.optimize.qat.fake_quant import Array

PER_UNIT = 24
ENTRIES = 256
MULTIPLIER_LIMIT = 2.0**15 - 1
MAX_SHIFT = 30.0


class Multiplier(NamedTuple):
    """`m` and `k`, int32, of the shape of the scale."""

    factor: Array
    shift: Array


def multiplier(scale: Array) -> Multiplier:
    """The multiplier that the kernel computes from the scale of its argument."""
    unit = scale * 2.0**12
    max_shift = ops.floor(ops.log2(MULTIPLIER_LIMIT / (3.0 * unit)))
    shift = ops.clip(max_shift, 0.0, MAX_SHIFT)
    unit = unit * ops.power(2.0, shift)
    integer = ops.floor(unit)  # the fraction separately: 3·unit may not fit a float32
    factor = 3.0 * integer + ops.floor(3.0 * (unit - integer))
    return Multiplier(ops.cast(factor, "int32"), ops.cast(shift, "int32"))


def _table() -> np.ndarray:
    y = 1.0 / (1.0 + np.exp(-np.arange(ENTRIES) / PER_UNIT))
    curvature = y * (1.0 - y) * (1.0 - 2.0 * y) / PER_UNIT**2
    return np.append(np.round(2.0**16 * (y - curvature / 16.0))[:-1], 2.0**16 - 1).astype(np.int32)


TABLE = _table()


def _interpolate(q: Array, by: Multiplier, bits: int, maximum: int) -> tuple[Array, Array]:
    """The value at |d|, in steps of 2^-(16 + bits), or `maximum` beyond the table; and d itself."""
    half = ops.right_shift(ops.left_shift(ops.ones_like(by.shift), by.shift), 1)
    d = ops.right_shift(q * by.factor + half, by.shift)
    size = ops.abs(d)
    entry, part = ops.right_shift(size, bits), ops.bitwise_and(size, 2**bits - 1)
    place = ops.minimum(entry, ENTRIES - 2)
    low, high = ops.take(TABLE, place), ops.take(TABLE, place + 1)
    line = ops.left_shift(low, bits) + part * (high - low)
    return ops.where(entry >= ENTRIES - 1, maximum, line), d


def _sigmoid(q: Array, by: Multiplier) -> Array:
    line, d = _interpolate(q, by, 9, (2**15 - 1) << 10)
    return ops.right_shift(ops.where(d >= 0, line + 2**9, 2**25 - line + 2**9 - 1), 10)


def _tanh(q: Array, by: Multiplier) -> Array:
    line, d = _interpolate(q, by, 8, (2**16 - 1) << 8)
    return ops.right_shift(ops.where(d >= 0, line - 2**23 + 2**7, 2**23 - line + 2**7 - 1), 8)


KERNELS: dict[str, Callable[[Array, Multiplier], Array]] = {"sigmoid": _sigmoid, "tanh": _tanh}


def lookup(function: str, x: Array, scale: Array) -> Array:
    """The result of a kernel for x.

    Args:
        function: a key of `KERNELS`.
        x: any shape, multiples of `scale` that fit 16 bits.
        scale: the scale of x.

    Returns:
        Multiples of 2^-15, of the shape of x.
    """
    q = ops.cast(ops.round(x / scale), "int32")
    by = multiplier(ops.convert_to_tensor(scale, "float32"))
    return ops.cast(KERNELS[function](q, by), "float32") / 2.0**15
