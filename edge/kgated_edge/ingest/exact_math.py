"""Functions whose results have the same bits on every machine: elementwise float64 alone.

NumPy's own `exp` and `log` come from the machine's library, which rounds as it likes.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
_MAX_EXPONENT = 700.0
_VALUE_BITS = 20
# OpenBLAS uses one thread for a product of up to so many multiplications. Its threads wait for each
# other where several processes share the cores, which takes longer than the product.
_MAX_MULTIPLICATIONS = 1 << 18
_ROWS = 4
_HIGH_LN2, _LOW_LN2 = 0.693147180369123816490, 1.90821492927058770002e-10


def log(values: Values) -> Values:
    """The natural logarithm, to 1e-14.

    log(m 2**e) = e log 2 + 2 (s + s³/3 + s⁵/5 + …), s = (m - 1) / (m + 1).
    """
    m, e = np.frexp(values)
    small = m < math.sqrt(0.5)
    m, e = np.where(small, 2 * m, m), e - small
    s = (m - 1) / (m + 1)
    square, series = s * s, np.zeros_like(s)
    for n in range(17, 0, -2):
        series = series * square + 1 / n
    return np.asarray(e * math.log(2) + 2 * s * series)


def exp(values: Values) -> Values:
    """e**x = 2**k e**r with |r| up to half of log 2, to 1e-15; |x| up to 700."""
    clipped = np.clip(values, -_MAX_EXPONENT, _MAX_EXPONENT)
    k = np.rint(clipped * (1 / math.log(2)))
    r = (clipped - k * _HIGH_LN2) - k * _LOW_LN2
    series = np.ones_like(r)
    for n in range(14, 0, -1):
        series = 1 + series * r / n
    return np.asarray(np.ldexp(series, k.astype(np.int64)))


def power(values: Values, exponent: float) -> Values:
    """x**exponent for x above 0."""
    return exp(exponent * log(values))


def integer_product(values: Values, table: Values) -> Values:
    """Values @ table of integers, in one thread; exact if all sums are below 2**53.

    It is computed in blocks of so few multiplications that OpenBLAS starts no threads.

    Args:
        values: (T, n).
        table: (n, m).
    """
    count, size = values.shape
    if count == 1:  # a vector: padding it to a block would take longer
        return np.asarray(values @ table)
    width = max(1, _MAX_MULTIPLICATIONS // (_ROWS * size))
    blocks = np.zeros((-(-count // _ROWS), _ROWS, size))
    blocks.reshape(-1, size)[:count] = values
    product = np.empty((*blocks.shape[:2], table.shape[1]))
    for first in range(0, table.shape[1], width):
        columns = slice(first, first + width)
        np.matmul(blocks, table[:, columns], out=product[:, :, columns])
    return product.reshape(-1, table.shape[1])[:count]


def exact_product(values: Values, table: Any, max_value: float) -> Values:
    """Values @ table in fixed point: the sum of integers below 2**53 has no order.

    Args:
        values: (T, n), rounded to multiples of 2**-_VALUE_BITS.
        table: (n, m), |entry| up to 1, rounded to the bits that are left for it.
        max_value: |value| is below it.
    """
    bits = 52 - _VALUE_BITS - math.ceil(math.log2(max_value * len(table)))
    product = integer_product(
        np.rint(values * 2.0**_VALUE_BITS), np.rint(np.asarray(table) * 2.0**bits)
    )
    return np.asarray(product * 2.0 ** -(_VALUE_BITS + bits))
