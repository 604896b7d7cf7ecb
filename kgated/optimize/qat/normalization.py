"""LayerNormalization and RMSNormalization of each frame, by operators of int8.

Equations for x (..., F). Each value except eps is rounded at the point of its name::

    mean = x·1/F                  centred = x - mean
    variance = centred²·1/F + eps
    inverse = 1/√variance
    normalized = centred·inverse
    scaled = normalized·gamma     y = scaled - (-beta)

RMSNormalization uses x in place of `centred`. The means are matrix products. Their integer kernel
adds eps as its bias before it rounds. A variance below half a step becomes the integer 0, for which
the kernel of 1/√ returns its largest integer.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.optimize.qat.fake_quant import Array
from kgated.optimize.qat.prepare import unsupported
from kgated.optimize.qat.quantizer import Context, Value

STEPS = 255.0  # steps of an int8 range that starts at 0
LARGEST = 1e30  # saturates
KINDS = (keras.layers.LayerNormalization, keras.layers.RMSNormalization)


def normalize(context: Context, layer: Any, v: Value, **_: Any) -> Value:
    """The result of the layer, in int8."""
    check_normalization(layer, context.state.scheme.name)
    centred = v
    if is_centred(layer):
        mean = _mean(context, f"{layer.name}/mean", v, None)
        centred = context.subtract(f"{layer.name}/centred", v, mean)
    squares = context.multiply(f"{layer.name}/squared", centred, centred)
    variance = _mean(context, f"{layer.name}/variance", squares, layer.epsilon)
    inverse = _inverse(context, f"{layer.name}/inverse", variance)
    return _with_weights(context, layer, centred, inverse)


def points_of(layer: Any) -> list[str]:
    """The names of the last points, of a product with the inverse and of those with weights."""
    gamma, beta = weights_of(layer)
    names = ["normalized"] + ["scaled"] * (gamma is not None) + ["shifted"] * (beta is not None)
    return [*(f"{layer.name}/{name}" for name in names[:-1]), layer.name]


def _with_weights(context: Context, layer: Any, centred: Value, inverse: Value) -> Value:
    points, (gamma, beta) = iter(points_of(layer)), weights_of(layer)
    y = context.multiply(next(points), centred, inverse)
    if gamma is not None:
        y = context.multiply_weights(next(points), y, gamma)
    return y if beta is None else context.subtract_weights(next(points), y, -beta)


def weights_of(layer: Any) -> tuple[Array | None, Array | None]:
    """The gain and the bias of a normalization, each None if it has none."""
    gamma = layer.scale if isinstance(layer, keras.layers.RMSNormalization) else layer.gamma
    beta = getattr(layer, "beta", None)
    return _tensor(gamma), _tensor(beta)


def _tensor(weight: Any) -> Array | None:
    return None if weight is None else ops.convert_to_tensor(weight)


def is_centred(layer: Any) -> bool:
    """Whether the layer subtracts the mean."""
    return isinstance(layer, keras.layers.LayerNormalization)


def averaging(features: int) -> np.ndarray:
    """The weights (F, 1) of a mean."""
    return np.full((features, 1), 1.0 / features, np.float32)


def _mean(context: Context, name: str, v: Value, bias: float | None) -> Value:
    assert v.params is not None, "the input of a product is rounded"
    W = ops.convert_to_tensor(averaging(v.x.shape[-1]))
    b = None if bias is None else ops.convert_to_tensor(np.array([bias], np.float32))
    W, b, accumulator = context.state.quantize_weights(W, b, v.params)
    y = ops.matmul(v.x, W)
    return context.point(name, y if b is None else y + b, accumulator=accumulator)


def _inverse(context: Context, name: str, variance: Value) -> Value:
    """1/√variance. The observed range is limited by the smallest variance that is not 0."""
    quantizer, params = context.quantizer(), variance.params
    assert params is not None, "the variance is rounded"
    is_zero = ops.logical_and(context.state.active, variance.x < 0.5 * params.scale)
    y = ops.rsqrt(ops.where(is_zero, params.scale, ops.maximum(variance.x, 1e-12)))
    largest = ops.stop_gradient(ops.rsqrt(ops.maximum(ops.max(variance.x), 1e-12) / STEPS))
    quantizer.observer.observe(name, ops.minimum(y, largest))
    point = quantizer.params(name)
    y = context.state.round(ops.where(is_zero, LARGEST, y), point)
    return Value(y, point, name)


def check_normalization(layer: Any, scheme: str) -> None:
    """Refuse arguments that the operators do not support.

    Raises:
        ValueError: names the layer.
    """
    axes = keras.tree.flatten(layer.axis)
    rank = len(layer.input.shape)
    if [axis % rank for axis in axes] != [rank - 1]:
        raise unsupported(layer, f"`axis={layer.axis}`, and only the last axis is modelled")
    if getattr(layer, "rms_scaling", False):
        raise unsupported(layer, "`rms_scaling=True`; RMSNormalization is trained in integers")
    if scheme != "int8":
        raise unsupported(
            layer,
            f'`scheme="{scheme}"`, and LiteRT interpolates 1/√x of 16 bits from a table that is '
            'too coarse near 0; `scheme="int8"` trains it',
        )
