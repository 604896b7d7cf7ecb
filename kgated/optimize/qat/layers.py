"""The handlers: the integer computation of each kind of layer."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.framewise import FRAMEWISE
from kgated.keras_internals.graph import has_own
from kgated.optimize.qat.fake_quant import MIN_RANGE, Array, QuantParams, fake_quantize
from kgated.optimize.qat.forward import tensor_of
from kgated.optimize.qat.linear import folded_linear, linear, train_folded_linear
from kgated.optimize.qat.normalization import KINDS, check_normalization, normalize
from kgated.optimize.qat.prepare import (
    ELEMENTWISE,
    LINEAR,
    activation_of,
    has_separate_activation,
    is_normalized,
    unsupported,
)
from kgated.optimize.qat.quantizer import SUM, Context, UnfusedProduct, Value
from kgated.optimize.qat.recurrent import bidirectional, recurrent

# Layers whose results have the quantization parameters of their input: each value is an input or 0.
SAME_PARAMS = (
    *(row.kind for row in FRAMEWISE if row.keeps_grid and isinstance(row.kind, type)),
    # These layers move or select frames.
    keras.layers.Flatten,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.MaxPooling1D,
    keras.layers.RepeatVector,
    keras.layers.Reshape,
    keras.layers.ZeroPadding1D,
)
ONLY_TRAINING = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


def _linear(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value | UnfusedProduct:
    if layer.name in context.fused and is_normalized(layer):
        return UnfusedProduct(layer, v)
    y, accumulator = linear(context.state, layer, v)
    if has_separate_activation(layer):
        total = context.point(f"{layer.name}/{SUM}", y, accumulator=accumulator)
    else:
        total = Value(y, None, accumulator=accumulator)
    return context.activated(layer, total, layer.activation)


def _normalization(
    context: Context, layer: keras.Layer, product: Value | UnfusedProduct, mask: Any = None
) -> Value:
    if not isinstance(product, UnfusedProduct):
        raise unsupported(
            layer, "it must directly follow one Dense, Conv1D or DepthwiseConv1D without activation"
        )
    if mask is not None:
        raise unsupported(layer, "its moments would count masked frames")
    state, v = context.state, product.input
    if state.training:
        y = train_folded_linear(product.layer, layer, v.x, state.frozen)
        return context.result(layer, y)
    return context.result(layer, *folded_linear(state, product.layer, layer, v))


def _activation(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    return context.activated(layer, v, activation_of(layer))


def _prelu(context: Context, layer: keras.layers.PReLU, v: Value, **_: Any) -> Value:
    if any(n != 1 for n in layer.alpha.shape[:-1]):
        raise unsupported(layer, "its slopes differ from frame to frame; give it `shared_axes=[1]`")
    alpha = ops.convert_to_tensor(layer.alpha)
    bound = ops.stop_gradient(ops.maximum(ops.max(ops.abs(alpha)), MIN_RANGE))
    slopes = fake_quantize(tensor_of(alpha), QuantParams(bound / 127.0, -128.0, 127.0))
    return context.point(layer.name, ops.where(v.x >= 0, v.x, slopes * v.x))


def _same_params(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    options = {"training": context.state.training} if isinstance(layer, ONLY_TRAINING) else {}
    y = context.call_layer(layer, v.x, **options)
    return Value(context.state.snap(y, v.params) if v.params else y, v.params, v.point)


def _average(context: Context, layer: keras.Layer, v: Value, mask: Any = None) -> Value:
    if mask is not None:
        raise unsupported(layer, "it would count masked frames")
    return context.point(layer.name, context.call_layer(layer, v.x))


def _standardize(context: Context, layer: keras.layers.Normalization, v: Value, **_: Any) -> Value:
    if layer.invert:
        raise unsupported(layer, "`invert=True`")
    assert v.params is not None, "a frame is rounded before anything else"
    mean, factor = standardization(layer)
    quantizer, centred = context.quantizer(), f"{layer.name}/{SUM}"
    x = quantizer.subtract_weights(centred, v.x, v.params, mean)
    scaled = quantizer(layer.name, x * quantizer.vector(layer.name, factor, operand=centred))
    return Value(scaled, quantizer.params(layer.name), layer.name)


def standardization(layer: keras.layers.Normalization) -> tuple[Array, Array]:
    """The mean that is subtracted from a frame, and the factor after that."""
    deviation = ops.maximum(ops.sqrt(layer.variance), keras.config.epsilon())
    return ops.convert_to_tensor(layer.mean), 1.0 / deviation


def _embedding(context: Context, layer: keras.layers.Embedding, tokens: Array, **_: Any) -> Value:
    if isinstance(tokens, Value):
        reason = (
            "it reads an input of floats; build the model with `keras.Input(..., dtype='int32')`"
        )
        raise unsupported(layer, reason)
    table, quantizer = ops.convert_to_tensor(layer.embeddings), context.quantizer()
    rows = ops.take(quantizer.constant(table), tokens, axis=0)
    return Value(rows, quantizer.constant_params(table))


def _concatenate(
    context: Context, layer: keras.layers.Concatenate, values: list[Value], **_: Any
) -> Value:
    quantizer = context.quantizer()
    y = quantizer.concatenate(layer.name, [(v.x, v.params) for v in values], layer.axis)
    return Value(y, quantizer.params(layer.name), layer.name)


def _elementwise(context: Context, layer: keras.Layer, values: list[Value], **_: Any) -> Value:
    if len(values) != 2:
        raise unsupported(layer, f"it has {len(values)} inputs; make it layers of two each")
    a, b = values
    if layer.name in context.fused:
        return Value(ELEMENTWISE[type(layer)](a.x, b.x), None)
    if not (a.point and b.point):
        return context.point(layer.name, ELEMENTWISE[type(layer)](a.x, b.x))
    quantizer = context.quantizer()
    merges = {keras.layers.Add: quantizer.sum, keras.layers.Subtract: quantizer.difference}
    merge = merges.get(type(layer), quantizer.product)
    y = merge(layer.name, a.x, b.x, (a.point, b.point))
    return Value(y, quantizer.params(layer.name), layer.name)


def check_supported(layer: keras.Layer, scheme: str) -> None:
    """Refuse a layer that has no handler for the integers of a scheme.

    Raises:
        ValueError: names the layer.
    """
    if isinstance(layer, keras.layers.InputLayer | keras.Model):
        return
    inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    if inner is not layer and not isinstance(inner, keras.layers.Dense):
        raise unsupported(layer, f"it wraps a {type(inner).__name__}, not a Dense")
    if handler_of(inner) is None:
        known = ", ".join(sorted({kind.__name__ for kind in HANDLERS}))
        raise unsupported(layer, f"its kind is none of {known}, TimeDistributed")
    if isinstance(inner, KINDS):
        check_normalization(inner, scheme)
    if isinstance(inner, keras.layers.PReLU) and scheme != "int8":
        raise unsupported(layer, f'`scheme="{scheme}"`; its rounding is modelled for "int8" alone')
    if getattr(layer, "data_format", None) == "channels_first":
        raise unsupported(layer, '`data_format="channels_first"`, and kernels take channels last')


def handler_of(layer: Any) -> "Handler | None":
    """The handler of a layer, also of a subclass of a kind in the table.

    None for a subclass with a `call` of its own, which computes something else.
    """
    if isinstance(layer, keras.Layer) and has_own("call", layer):
        return None
    return next((HANDLERS[kind] for kind in type(layer).__mro__ if kind in HANDLERS), None)


Handler = Callable[..., Any]
HANDLERS: Mapping[type, Handler] = {
    **dict.fromkeys(LINEAR, _linear),
    keras.layers.BatchNormalization: _normalization,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _activation,
    keras.layers.Softmax: _activation,
    keras.layers.ELU: _activation,
    keras.layers.LeakyReLU: _activation,
    keras.layers.PReLU: _prelu,
    **dict.fromkeys(KINDS, normalize),
    **dict.fromkeys(SAME_PARAMS, _same_params),
    keras.layers.GlobalAveragePooling1D: _average,
    keras.layers.Normalization: _standardize,
    keras.layers.Embedding: _embedding,
    keras.layers.Concatenate: _concatenate,
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    keras.layers.RNN: recurrent,
    keras.layers.Bidirectional: bidirectional,
}
