"""The rounding of LiteRT's int16x8 kernels, bit by bit, computed in float64.

An error of one int16 step in a state causes an error of several steps in the result. A model in
this scheme therefore computes its results in float64, where every sum of products is exact, and
rounds each one as its kernel does. A ratio M of scales is a multiplier m of 31 bits and a
shift, `M ≈ m·2^(e-31)`; an integer k becomes, with ⌊·⌉ for `floor(· + 1/2)`::

    fully_connected_bias   ⌊k·m·2^(e-31)⌉                    FULLY_CONNECTED with a bias
    fully_connected        ⌊⌊k·m·2^-31⌉·2^e⌉                 FULLY_CONNECTED without
    elementwise            the same, halves away from zero    MUL, ADD, SUB
    convolution            ⌊k·⌊m·2^-16⌉·2^(e-15)⌉            CONV_2D

Training computes in float32: one value in a thousand differs by a step, which training tolerates.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from keras import ops

from kgated.optimize.qat.fake_quant import Array, QuantParams

EXACT = "float64"
HEADROOM = 2.0**15  # ADD and SUB shift their operands by it first


class AccumulatorScale(NamedTuple):
    """The scale of an integer accumulator, and the kernel of `KERNELS` that requantizes it."""

    scale: Array
    kernel: str


class _Multiplier(NamedTuple):
    """`m·2^-31` and e."""

    mantissa: Array
    exponent: Array


def _multiplier(ratio: Array) -> _Multiplier:
    exponent = ops.floor(ops.log2(ratio)) + 1.0
    mantissa = ops.round(ratio * ops.power(2.0, 31.0 - exponent)) * 2.0**-31
    return _Multiplier(mantissa, exponent)


def _half_up(x: Array) -> Array:
    return ops.floor(x + 0.5)


def _half_away(x: Array) -> Array:
    return ops.sign(x) * _half_up(ops.abs(x))


def _twice_rounded(k: Array, ratio: Array, last: Callable[[Array], Array]) -> Array:
    mantissa, exponent = _multiplier(ratio)
    high = _half_up(k * ops.power(2.0, ops.maximum(exponent, 0.0)) * mantissa)
    return last(high * ops.power(2.0, ops.minimum(exponent, 0.0)))


def _fully_connected_bias(k: Array, ratio: Array) -> Array:
    mantissa, exponent = _multiplier(ratio)
    return _half_up(k * mantissa * ops.power(2.0, exponent))


def _fully_connected(k: Array, ratio: Array) -> Array:
    return _twice_rounded(k, ratio, _half_up)


def _elementwise(k: Array, ratio: Array) -> Array:
    return _twice_rounded(k, ratio, _half_away)


def _convolution(k: Array, ratio: Array) -> Array:
    mantissa, exponent = _multiplier(ratio)
    short = ops.minimum(_half_up(mantissa * 2.0**15), 2.0**15 - 1.0)
    return _half_up(k * short * ops.power(2.0, exponent - 15.0))


KERNELS: Mapping[str, Callable[[Array, Array], Array]] = {
    "fully_connected_bias": _fully_connected_bias,
    "fully_connected": _fully_connected,
    "elementwise": _elementwise,
    "convolution": _convolution,
}


def requantize(x: Array, accumulator: AccumulatorScale, params: QuantParams) -> Array:
    """Requantize x, a multiple of the accumulator's scale; float64, straight-through gradient."""
    ratio = accumulator.scale / params.scale
    if accumulator.kernel == "elementwise":  # only this kernel divides in float32
        single = ops.cast(accumulator.scale, "float32") / ops.cast(params.scale, "float32")
        ratio = ops.cast(single, EXACT)
    q = KERNELS[accumulator.kernel](ops.round(x / accumulator.scale), ratio)
    return _clip_straight_through(params, q, x)


def add(
    a: Array, b: Array, sign: int, params: tuple[QuantParams, QuantParams, QuantParams]
) -> Array:
    """`a + sign·b` with the third parameters; float64, straight-through gradient."""
    scales = [ops.convert_to_tensor(part.scale, EXACT) for part in params]
    twice = 2.0 * ops.maximum(scales[0], scales[1])
    q_a, q_b = (
        _elementwise(ops.round(x / s) * HEADROOM, s / twice)
        for x, s in zip((a, b), scales[:2], strict=True)
    )
    total = _elementwise(q_a + sign * q_b, twice / (HEADROOM * scales[2]))
    return _clip_straight_through(params[2], total, a + sign * b)


def _clip_straight_through(params: QuantParams, q: Array, x: Array) -> Array:
    """The clipped integers q times the scale, with the gradient of x."""
    return x + ops.stop_gradient(ops.clip(q, params.qmin, params.qmax) * params.scale - x)
