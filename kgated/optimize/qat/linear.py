"""Dense and convolution layers, with batch-norm folding.

Equations, where μ and σ² are the moments of y = x·W + b, or their moving averages::

    k = γ / √(σ² + ε)        (y - μ)·k + β = x·(W·k) + (b - μ)·k + β

The weights of the device are W·k, with a scale per output. Hence q(W·k) = q(W)·k, and training
computes x·q(W) once, before the moments of the batch are known.

Reference: Jacob et al. 2018, section 3.2.
"""

from typing import Any

import keras
from keras import ops

from kgated.optimize.qat.fake_quant import Array, fake_quantize, weight_params
from kgated.optimize.qat.forward import ForwardState, tensor_of
from kgated.optimize.qat.int16_arithmetic import AccumulatorScale
from kgated.optimize.qat.quantizer import Value

Product = tuple[Array, AccumulatorScale]  # the values, and the scale that they are multiples of


def weights(layer: keras.Layer) -> tuple[Array, Array | None]:
    """Kernel and bias of a Dense or convolution layer."""
    bias = ops.convert_to_tensor(layer.bias) if layer.use_bias else None
    return ops.convert_to_tensor(layer.kernel), bias


def multiply(layer: keras.Layer, x: Array, W: Array) -> Array:
    """The matrix product or convolution of the layer, with another kernel."""
    if isinstance(layer, keras.layers.Dense):
        return ops.matmul(x, W)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D)
    conv, padding = ops.depthwise_conv if depthwise else ops.conv, layer.padding
    if padding == "causal":
        padded = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        x, padding = ops.pad(x, [[0, 0], [padded, 0], [0, 0]]), "valid"
    return conv(x, W, layer.strides[0], padding, dilation_rate=layer.dilation_rate[0])


def linear(state: ForwardState, layer: keras.Layer, v: Value) -> Product:
    """`x·W + b` with quantized kernel and bias."""
    return _with_weights(state, layer, v, *weights(layer))


def folded(layer: keras.Layer, normalization: Any) -> tuple[Array, Array]:
    """Kernel and bias with the moving averages of a normalization folded in."""
    W, b = weights(layer)
    mean, variance = (
        ops.convert_to_tensor(v) for v in (normalization.moving_mean, normalization.moving_variance)
    )
    k = _factor(normalization, variance)
    return ops.reshape(by_output(W, layer) * k, W.shape), _shifted(normalization, b, mean, k)


def folded_linear(state: ForwardState, layer: keras.Layer, normalization: Any, v: Value) -> Product:
    """`linear` with the batch normalization folded in."""
    return _with_weights(state, layer, v, *folded(layer, normalization))


def train_folded_linear(layer: keras.Layer, normalization: Any, x: Array, frozen: Array) -> Array:
    """`linear` with the batch normalization folded in, by the moments of the batch until frozen."""
    W, b = weights(layer)
    y = multiply(layer, x, _fake_quantize_kernel(layer, W))
    mean, variance = _moments(normalization, _plus(y, b), frozen)
    k = _factor(normalization, variance)
    return y * k + _shifted(normalization, b, mean, k)


def _with_weights(
    state: ForwardState, layer: keras.Layer, v: Value, W: Array, b: Array | None
) -> Product:
    assert v.params is not None, "the input of a product is rounded"
    kernel = None if isinstance(layer, keras.layers.Dense) else "convolution"
    flat, b, accumulator = state.quantize_weights(by_output(W, layer), b, v.params, kernel)
    return _plus(multiply(layer, v.x, ops.reshape(flat, W.shape)), b), accumulator


def by_output(W: Array, layer: keras.Layer) -> Array:
    """The kernel with its outputs along the last axis; a depthwise kernel has them on two axes."""
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D)
    return ops.reshape(W, (W.shape[0], -1)) if depthwise else W


def _fake_quantize_kernel(layer: keras.Layer, W: Array) -> Array:
    flat = tensor_of(by_output(W, layer))
    return ops.reshape(fake_quantize(flat, weight_params(flat)), W.shape)


def _plus(y: Array, b: Array | None) -> Array:
    return y if b is None else y + b


def _factor(normalization: Any, variance: Array) -> Array:
    k = ops.rsqrt(variance + normalization.epsilon)
    return k * normalization.gamma if normalization.scale else k


def _shifted(normalization: Any, b: Array | None, mean: Array, k: Array) -> Array:
    shifted = ((0.0 if b is None else b) - mean) * k
    return shifted + normalization.beta if normalization.center else shifted


def _moments(normalization: Any, y: Array, frozen: Array) -> tuple[Array, Array]:
    """Mean and variance of the batch, or the moving averages once frozen; updates the averages."""
    of_batch = ops.moments(y, axes=tuple(range(len(y.shape) - 1)))
    momentum, moments = normalization.momentum, []
    moving = normalization.moving_mean, normalization.moving_variance
    for variable, now in zip(moving, of_batch, strict=True):
        before = ops.convert_to_tensor(variable)
        after = before * momentum + ops.stop_gradient(now) * (1.0 - momentum)
        variable.assign(ops.where(frozen, before, after))
        moments.append(ops.where(frozen, before, now))
    return moments[0], moments[1]
