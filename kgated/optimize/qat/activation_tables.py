"""σ and tanh as the 16-bit kernels compute them: straight lines between the entries of a table.

Both read one table, of σ at every 24th of a unit, since tanh(x) = 2·σ(2x) - 1. An entry lies
between the curve and the chord, so that a line is off by as much inside as at its ends::

    t_n = 2^16·(σ(n/24) - σ''(n/24)/(16·24²))

An integer q of scale s comes in as d = q·m >> k, with m of 15 bits, which stands for 3·2^12·s·q.
For m rounds down, results are up to three steps of 2^-15 beside the rounded exact ones, all to one
side, and a recurrent network sums that up.

A kernel takes another way where s is exactly 2^-12 (tanh: or 2^-11), as no learned range makes it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from keras import ops

from kgated.optimize.qat.fake_quant import Array

PER_UNIT = 24
ENTRIES = 256
MULTIPLIER_LIMIT = 2.0**15 - 1
LONGEST_SHIFT = 30.0


class Multiplier(NamedTuple):
    """`m` and `k`, int32, of the shape of the scale."""

    factor: Array
    shift: Array


def multiplier(scale: Array) -> Multiplier:
    """From the scale of the argument to the multiplier that the kernel has for it."""
    unit = scale * 2.0**12
    room = ops.floor(ops.log2(MULTIPLIER_LIMIT / (3.0 * unit)))
    shift = ops.clip(room, 0.0, LONGEST_SHIFT)
    unit = unit * ops.power(2.0, shift)
    whole = ops.floor(unit)  # three times the rest apart: 3·unit may not fit a float32
    factor = 3.0 * whole + ops.floor(3.0 * (unit - whole))
    return Multiplier(ops.cast(factor, "int32"), ops.cast(shift, "int32"))


def _table() -> np.ndarray:
    y = 1.0 / (1.0 + np.exp(-np.arange(ENTRIES) / PER_UNIT))
    bend = y * (1.0 - y) * (1.0 - 2.0 * y) / PER_UNIT**2
    return np.append(np.round(2.0**16 * (y - bend / 16.0))[:-1], 2.0**16 - 1).astype(np.int32)


TABLE = _table()


def _between(q: Array, by: Multiplier, bits: int, most: int) -> tuple[Array, Array]:
    """The line at |d|, in steps of 2^-(16 + bits), or `most` beyond the table; and d itself."""
    half = ops.right_shift(ops.left_shift(ops.ones_like(by.shift), by.shift), 1)
    d = ops.right_shift(q * by.factor + half, by.shift)
    size = ops.abs(d)
    entry, part = ops.right_shift(size, bits), ops.bitwise_and(size, 2**bits - 1)
    place = ops.minimum(entry, ENTRIES - 2)
    low, high = ops.take(TABLE, place), ops.take(TABLE, place + 1)
    line = ops.left_shift(low, bits) + part * (high - low)
    return ops.where(entry >= ENTRIES - 1, most, line), d


def _sigmoid(q: Array, by: Multiplier) -> Array:
    line, d = _between(q, by, 9, (2**15 - 1) << 10)
    return ops.right_shift(ops.where(d >= 0, line + 2**9, 2**25 - line + 2**9 - 1), 10)


def _tanh(q: Array, by: Multiplier) -> Array:
    line, d = _between(q, by, 8, (2**16 - 1) << 8)
    return ops.right_shift(ops.where(d >= 0, line - 2**23 + 2**7, 2**23 - line + 2**7 - 1), 8)


KERNELS: dict[str, Callable[[Array, Multiplier], Array]] = {"sigmoid": _sigmoid, "tanh": _tanh}


def on_curve(function: str, x: Array, scale: Array) -> Array:
    """What a kernel makes of x.

    Args:
        function: a key of `KERNELS`.
        x: any shape, on a grid of 16 bits.
        scale: of the grid.

    Returns:
        Numbers in steps of 2^-15, of the shape of x.
    """
    q = ops.cast(ops.round(x / scale), "int32")
    by = multiplier(ops.convert_to_tensor(scale, "float32"))
    return ops.cast(KERNELS[function](q, by), "float32") / 2.0**15
