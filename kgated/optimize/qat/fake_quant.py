"""Quantization parameters of integer tensors, and fake quantization in training.

Equations, for a scale s and the integers from l to u, less the zero point, with l ≤ 0 ≤ u::

    q(x) = s · clip(round(x/s), l, u)        ∂q/∂x = 1 where l ≤ round(x/s) ≤ u, else 0

The gradient is the clipped straight-through estimate: it is zero for values that saturate.
Rounding is to the nearest, ties to even, as in the kernels.

Reference: Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference"; Bengio et al. 2013 for the gradient.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

Array = Any
MIN_RANGE = 1e-9  # as in the quantizer: no scale is zero


def has_float64() -> bool:
    """Whether the backend of Keras computes in float64 by default."""
    return keras.backend.backend() != "jax"


def _quotient(x: Array, by: int) -> Array:
    """`x / by` to the last bit; TensorFlow's graphs multiply by the rounded 1/by."""
    if not has_float64():
        return x / by
    return ops.cast(ops.cast(x, "float64") / by, "float32")


class QuantParams(NamedTuple):
    """Quantization parameters: a tensor holds `scale` times the integers from `qmin` to `qmax`.

    The zero point is subtracted from `qmin` and `qmax`, so that the integer 0 stands for 0.
    """

    scale: Array
    qmin: Array
    qmax: Array

    def limits(self) -> tuple[Array, Array]:
        """The minimum and the maximum of the tensor."""
        return self.qmin * self.scale, self.qmax * self.scale


@dataclass(frozen=True)
class Scheme:
    """The integer type of activations. Weights are int8 in each scheme.

    Attributes:
        name: of the recipe of a conversion.
        qmin, qmax: the smallest and the largest integer.
        symmetric: whether the zero point is 0.
        sigmoid, tanh: the parameters that the kernels of these functions fix for their results.
    """

    name: str
    qmin: int
    qmax: int
    symmetric: bool
    sigmoid: QuantParams
    tanh: QuantParams

    def params(self, low: Array, high: Array) -> QuantParams:
        """The parameters for values from `low` to `high`, in the arithmetic of the quantizer."""
        if self.symmetric:
            bound = ops.maximum(ops.maximum(ops.abs(low), ops.abs(high)), MIN_RANGE)
            return QuantParams(_quotient(bound, self.qmax), float(self.qmin), float(self.qmax))
        high, low = ops.maximum(high, 0.0), ops.minimum(low, 0.0)
        scale = _quotient(ops.maximum(high - low, MIN_RANGE), self.qmax - self.qmin)
        zero_point = ops.round(self.qmin - low / scale)
        return QuantParams(scale, self.qmin - zero_point, self.qmax - zero_point)

    def params_of(self, v: Array) -> QuantParams:
        """The parameters for the values of an array."""
        values = ops.stop_gradient(v)
        return self.params(ops.min(values), ops.max(values))

    def fixed_params(self, function: str) -> QuantParams | None:
        """The parameters that the kernel of an activation fixes for its result, if any."""
        return {"sigmoid": self.sigmoid, "softmax": self.sigmoid, "tanh": self.tanh}.get(function)


SCHEMES = {
    "int8": Scheme(
        "int8",
        -128,
        127,
        False,
        QuantParams(1 / 256, 0.0, 255.0),
        QuantParams(1 / 128, -128.0, 127.0),
    ),
    "int16x8": Scheme(
        "int16x8",
        -32768,
        32767,
        True,
        QuantParams(1 / 32768, -32768.0, 32767.0),
        QuantParams(1 / 32768, -32768.0, 32767.0),
    ),
}


def fake_quantize(x: Array, params: QuantParams, step: Array | None = None) -> Array:
    """Round x to multiples of the scale and clip it; with the straight-through gradient.

    Args:
        x: any shape.
        params: for all of x, or for each index of its last axis.
        step: the scale of the accumulator, where x is an integer multiple of it except for the
            float32 rounding error. A value halfway between two steps of `params` is then rounded
            as the kernel rounds it.
    """
    inverse = 1.0 if step is None else step / params.scale
    step = params.scale if step is None else step

    @ops.custom_gradient
    def quantize(
        x: Array, step: Array, inverse: Array, scale: Array, qmin: Array, qmax: Array
    ) -> Any:
        nearest = ops.round(ops.round(x / step) * inverse)
        inside = ops.logical_and(nearest >= qmin, nearest <= qmax)

        def gradient(*args: Array, upstream: Array | None = None) -> Any:
            incoming = args[0] if upstream is None else upstream
            zeros = map(ops.zeros_like, (step, inverse, scale, qmin, qmax))
            return ops.where(inside, incoming, 0.0), *zeros

        return ops.clip(nearest, qmin, qmax) * scale, gradient

    parts = step, inverse, *params
    return quantize(x, *(ops.convert_to_tensor(part, x.dtype) for part in parts))


def weight_params(W: Array) -> QuantParams:
    """The parameters of weights: int8, symmetric, a scale for each output (last axis)."""
    axes = tuple(range(len(W.shape) - 1))
    bound = ops.maximum(ops.max(ops.abs(W), axis=axes), MIN_RANGE)
    return QuantParams(ops.stop_gradient(_quotient(bound, 127)), -127.0, 127.0)
