"""Products with weights, and the batch normalization that is folded into them.

Equations, with the moments μ and σ² of the products y = x·W + b, or their moving averages::

    k = γ / √(σ² + ε)        (y - μ)·k + β = x·(W·k) + (b - μ)·k + β

On the device W·k are the weights, rounded with a scale per output. So q(W·k) = q(W)·k, and training
computes the products once, with the weights rounded before the moments of the batch are known.

Reference: Jacob et al. 2018, section 3.2.
"""

from typing import Any

import keras
from keras import ops

from kgated.optimize.qat.fake_quant import Array, matrix_grid, rounded
from kgated.optimize.qat.quantizer import Rounding

PRODUCTS = (keras.layers.Dense, keras.layers.Conv1D)


def weights(layer: keras.Layer) -> tuple[Array, Array | None]:
    """Kernel and bias of a layer of products."""
    bias = ops.convert_to_tensor(layer.bias) if layer.use_bias else None
    return ops.convert_to_tensor(layer.kernel), bias


def multiplied(layer: keras.Layer, x: Array, W: Array) -> Array:
    """What the layer does with its kernel, for another kernel of the same shape."""
    if isinstance(layer, keras.layers.Dense):
        return ops.matmul(x, W)
    padding = layer.padding
    if padding == "causal":
        reach = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        x, padding = ops.pad(x, [[0, 0], [reach, 0], [0, 0]]), "valid"
    return ops.conv(x, W, layer.strides[0], padding, dilation_rate=layer.dilation_rate[0])


def product(layer: keras.Layer, x: Array, at: Rounding, point: str) -> Array:
    """`x·W + b`, kernel and bias on their grids; what is computed is rounded at `point`."""
    W, b = at.weights(point, *weights(layer), kernel=_kernel(layer))
    return _plus(multiplied(layer, x, W), b)


def folded(layer: keras.Layer, normalization: Any) -> tuple[Array, Array]:
    """Kernel and bias of a layer with the moving averages of a normalization in them."""
    W, b = weights(layer)
    mean, variance = (
        ops.convert_to_tensor(v) for v in (normalization.moving_mean, normalization.moving_variance)
    )
    k = _factor(normalization, variance)
    return W * k, _shifted(normalization, b, mean, k)


def normalized_product(
    layer: keras.Layer, normalization: Any, x: Array, at: Rounding, point: str
) -> Array:
    """A product with its batch normalization, as `product`."""
    W, b = at.weights(point, *folded(layer, normalization), kernel=_kernel(layer))
    return _plus(multiplied(layer, x, W), b)


def trained_product(layer: keras.Layer, normalization: Any, x: Array, frozen: Array) -> Array:
    """The same by the moments of the batch, until it is frozen; the averages move."""
    W, b = weights(layer)
    y = multiplied(layer, x, rounded(W * 1.0, matrix_grid(W)))
    mean, variance = _moments(normalization, _plus(y, b), frozen)
    k = _factor(normalization, variance)
    return y * k + _shifted(normalization, b, mean, k)


def _kernel(layer: keras.Layer) -> str | None:
    return "convolution" if isinstance(layer, keras.layers.Conv1D) else None


def _plus(y: Array, b: Array | None) -> Array:
    return y if b is None else y + b


def _factor(normalization: Any, variance: Array) -> Array:
    k = ops.rsqrt(variance + normalization.epsilon)
    return k * normalization.gamma if normalization.scale else k


def _shifted(normalization: Any, b: Array | None, mean: Array, k: Array) -> Array:
    shifted = ((0.0 if b is None else b) - mean) * k
    return shifted + normalization.beta if normalization.center else shifted


def _moments(normalization: Any, y: Array, frozen: Array) -> tuple[Array, Array]:
    """Mean and variance of the batch, which move the averages; the averages once frozen."""
    of_batch = ops.moments(y, axes=tuple(range(len(y.shape) - 1)))
    momentum, found = normalization.momentum, []
    moving = normalization.moving_mean, normalization.moving_variance
    for variable, now in zip(moving, of_batch, strict=True):
        before = ops.convert_to_tensor(variable)
        after = before * momentum + ops.stop_gradient(now) * (1.0 - momentum)
        variable.assign(ops.where(frozen, before, after))
        found.append(ops.where(frozen, before, now))
    return found[0], found[1]
