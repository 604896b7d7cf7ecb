"""Results of the int8 kernels that differ from the rounded exact result.

A matrix product of int8 numbers is an integer multiple of s_x·s_W. The kernel rounds it once, to
the scale s of the result. The kernel of a sum uses multipliers of 21 bits::

    a + b ≈ s · ((q_a·m_a + q_b·m_b + 2^(n-1)) >> n)        m_a = round(s_a/s · 2^n)

n is such that the larger multiplier has 21 bits. The result differs from the rounded exact sum in
one of several thousand values. A recurrent network feeds each of them back.
"""

from typing import Any, NamedTuple

from keras import ops

from kgated.optimize.qat.fake_quant import Array, QuantParams

MULTIPLIER_BITS = 20


class RescaleMultipliers(NamedTuple):
    """The multipliers of the operands a and b, and the right shift of their sum; int32."""

    a: Array
    b: Array
    shift: Array


def rescale_multipliers(a: Array, b: Array, result: Array) -> RescaleMultipliers:
    """The multipliers for the scales of the operands and of the result, of any shape."""
    first, second = a / result, b / result
    exponent = ops.floor(ops.log2(ops.maximum(first, second)))
    shift = MULTIPLIER_BITS - exponent
    factor = ops.power(2.0, shift)
    first, second = (ops.cast(ops.round(x * factor), "int32") for x in (first, second))
    return RescaleMultipliers(first, second, ops.cast(shift, "int32"))


def requantize(x: Array, before: QuantParams, after: QuantParams) -> Array:
    """Requantize x by a multiplier that is a multiple of 1/256; gradient as `fake_quantize`."""

    @ops.custom_gradient
    def quantize(x: Array, first: Array, scale: Array, qmin: Array, qmax: Array) -> Any:
        multiplier = ops.round(256.0 * first / scale)
        nearest = ops.floor((ops.round(x / first) * multiplier + 128.0) / 256.0)
        inside = ops.logical_and(nearest >= qmin, nearest <= qmax)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            incoming = args[0] if upstream is None else upstream
            zeros = map(ops.zeros_like, (first, scale, qmin, qmax))
            return ops.where(inside, incoming, 0.0), *zeros

        return ops.clip(nearest, qmin, qmax) * scale, gradient

    parts = before.scale, *after
    return quantize(x, *(ops.convert_to_tensor(part, "float32") for part in parts))


def leaky_relu(x: Array, slope: float, before: QuantParams, after: QuantParams) -> Array:
    """`max(x, slope·x)` by two multipliers that are multiples of 1/256, before saturation."""
    ratio = ops.where(x >= 0, 1.0, slope) * (before.scale / after.scale)
    nearest = ops.floor((ops.round(x / before.scale) * ops.round(256.0 * ratio) + 128.0) / 256.0)
    return nearest * after.scale


def add(
    a: Array,
    b: Array,
    sign: int,
    params: tuple[QuantParams, QuantParams, QuantParams],
    multipliers: RescaleMultipliers,
) -> Array:
    """`a + sign·b` with the third parameters; gradient as `fake_quantize`.

    Args:
        a: values with the first parameters.
        b: values with the second parameters.
        sign: 1 or -1.
        params: of a, b and the result.
        multipliers: for the three scales.
    """

    @ops.custom_gradient
    def quantize(a: Array, b: Array, *parts: Array) -> Any:
        scale_a, scale_b, scale, qmin, qmax = parts
        q_a, q_b = (ops.cast(ops.round(x / s), "int32") for x, s in ((a, scale_a), (b, scale_b)))
        shift = multipliers.shift
        half = ops.left_shift(ops.ones_like(shift), shift - 1)
        total = q_a * multipliers.a + sign * q_b * multipliers.b + half
        nearest = ops.cast(ops.right_shift(total, shift), a.dtype)
        inside = ops.logical_and(nearest >= qmin, nearest <= qmax)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            incoming = ops.where(inside, args[0] if upstream is None else upstream, 0.0)
            return incoming, sign * incoming, *map(ops.zeros_like, parts)

        return ops.clip(nearest, qmin, qmax) * scale, gradient

    if a.shape != b.shape:  # the gradient of a broadcast is a sum, which this one is not
        a, b = a + ops.zeros_like(b), b + ops.zeros_like(a)
    parts = params[0].scale, params[1].scale, *params[2]
    return quantize(a, b, *(ops.convert_to_tensor(part, "float32") for part in parts))
