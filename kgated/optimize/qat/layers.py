"""Each kind of layer as a device computes it in integers."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from kgated.framewise import FRAMEWISE
from kgated.keras_graph import consumers
from kgated.optimize.qat.fake_quant import Array
from kgated.optimize.qat.linear import normalized_product, product, trained_product
from kgated.optimize.qat.prepare import (
    ELEMENTWISE,
    activation_of,
    comes_apart,
    is_normalized,
)
from kgated.optimize.qat.quantizer import SUM, Context, Rounding, Value, unsupported
from kgated.optimize.qat.recurrent import both_ways, recurrent

# Layers whose results keep the quantization parameters of their input: each is an input or 0.
SAME_GRID = (
    *(row.kind for row in FRAMEWISE if row.keeps_grid and isinstance(row.kind, type)),
    # These move frames or choose between them.
    keras.layers.Flatten,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.MaxPooling1D,
    keras.layers.Reshape,
    keras.layers.ZeroPadding1D,
)
ONLY_TRAINING = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


def _product(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    if layer.name in context.joined and is_normalized(layer):
        return Value(None, None, pending=(layer, v))
    at = Rounding(context.call, operands={"x": v.grid})
    y = product(layer, v.x, at, _point_of(layer, context.joined))
    return _after(context, layer, y)


def _after(context: Context, layer: keras.Layer, y: Array) -> Value:
    v = context.point(f"{layer.name}/{SUM}", y) if comes_apart(layer) else Value(y, None)
    return context.activated(layer, v, layer.activation)


def _point_of(layer: keras.Layer, joined: frozenset[str]) -> str:
    """Where the products of a layer are rounded: where its operator ends."""
    if comes_apart(layer):
        return f"{layer.name}/{SUM}"
    while layer.name in joined:
        (layer,) = consumers(layer)
    return layer.name


def _normalization(context: Context, layer: keras.Layer, v: Value, mask: Any = None) -> Value:
    if v.pending is None:
        raise unsupported(layer, "it comes after no Dense or Conv1D alone and without activation")
    if mask is not None:
        raise unsupported(layer, "its moments would count masked frames")
    before, x = v.pending
    if context.training:
        return context.result(layer, trained_product(before, layer, x.x, context.frozen))
    at = Rounding(context.call, operands={"x": x.grid})
    point = _point_of(before, context.joined)
    return context.result(layer, normalized_product(before, layer, x.x, at, point))


def _activation(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    return context.activated(layer, v, activation_of(layer))


def _same_grid(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    options = {"training": context.training} if isinstance(layer, ONLY_TRAINING) else {}
    y = context.called(layer, v.x, **options)
    return Value(context.call.widened(y, v.grid) if v.grid else y, v.grid, v.point)


def _average(context: Context, layer: keras.Layer, v: Value, mask: Any = None) -> Value:
    if mask is not None:
        raise unsupported(layer, "it would count masked frames")
    return context.point(layer.name, context.called(layer, v.x))


def _standardized(context: Context, layer: keras.layers.Normalization, v: Value, **_: Any) -> Value:
    if layer.invert:
        raise unsupported(layer, "`invert=True`")
    assert v.grid is not None, "a frame is rounded before anything else"
    mean, factor = standardization(layer)
    at, middle = Rounding(context.call), f"{layer.name}/{SUM}"
    centred = at.offset(middle, v.x, v.grid, mean)
    scaled = centred * at.vector(layer.name, factor, operand=middle)
    return context.point(layer.name, scaled)


def standardization(layer: keras.layers.Normalization) -> tuple[Array, Array]:
    """What is taken off a frame, and what the rest is multiplied by."""
    deviation = ops.maximum(ops.sqrt(layer.variance), keras.config.epsilon())
    return ops.convert_to_tensor(layer.mean), 1.0 / deviation


def _embedding(context: Context, layer: keras.layers.Embedding, tokens: Array, **_: Any) -> Value:
    table = ops.convert_to_tensor(layer.embeddings)
    at = Rounding(context.call)
    return Value(ops.take(at.constant(table), tokens, axis=0), at.grid_of(table))


def _merged(context: Context, layer: keras.Layer, values: list[Value], **_: Any) -> Value:
    if isinstance(layer, keras.layers.Concatenate):
        at = Rounding(context.call)
        y = at.joined(layer.name, [(v.x, v.grid) for v in values], layer.axis)
        return Value(y, at.grid(layer.name), layer.name)
    if len(values) != 2:
        raise unsupported(layer, f"it has {len(values)} inputs; make it layers of two each")
    one, other = values
    if layer.name in context.joined:
        return Value(ELEMENTWISE[type(layer)](one.x, other.x), None)
    if not (one.point and other.point):
        return context.point(layer.name, ELEMENTWISE[type(layer)](one.x, other.x))
    at = Rounding(context.call)
    merge = {keras.layers.Add: at.sum, keras.layers.Subtract: at.difference}
    of = one.point, other.point
    y = merge.get(type(layer), at.product)(layer.name, one.x, other.x, of)
    return Value(y, at.grid(layer.name), layer.name)


Handler = Callable[..., Any]
HANDLERS: Mapping[type, Handler] = {
    keras.layers.Dense: _product,
    keras.layers.Conv1D: _product,
    keras.layers.BatchNormalization: _normalization,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _activation,
    keras.layers.Softmax: _activation,
    **dict.fromkeys(SAME_GRID, _same_grid),
    keras.layers.GlobalAveragePooling1D: _average,
    keras.layers.Normalization: _standardized,
    keras.layers.Embedding: _embedding,
    **dict.fromkeys((*ELEMENTWISE, keras.layers.Concatenate), _merged),
    keras.layers.RNN: recurrent,
    keras.layers.Bidirectional: both_ways,
}
