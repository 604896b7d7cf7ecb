"""Each kind of layer as a device computes it in integers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.layers import GatedRNN
from kgated.optimize.qat.grids import Array, Grid
from kgated.optimize.qat.joins import (
    ELEMENTWISE,
    activation_of,
    comes_apart,
    consumers,
    is_normalized,
)
from kgated.optimize.qat.points import Call, Rounding, fixed_by
from kgated.optimize.qat.products import normalized_product, product, trained_product
from kgated.optimize.qat.recurrent import run_recurrent

# Layers that hand on the numbers that they get: what is on a grid stays on it.
SAME_GRID = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.GlobalMaxPooling1D,
    keras.layers.Identity,
    keras.layers.Masking,
    keras.layers.MaxPooling1D,
    keras.layers.Reshape,
    keras.layers.SpatialDropout1D,
    keras.layers.ZeroPadding1D,
)
ONLY_TRAINING = (
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)
INPUT = "input"  # the point of an input is called `input/name`
SUM = "sum"  # the point before an activation that is an operator of its own


@dataclass
class Value:
    """A tensor on its way through the graph, and the grid that it is on.

    Attributes:
        x: the tensor; None for products that the BatchNormalization after them completes.
        grid: None where the tensor is not rounded: the operator goes on with the next layer.
        point: the name of the point that rounded it, where it was one.
        pending: the layer of those products, and what it multiplies.
    """

    x: Array
    grid: Grid | None
    point: str | None = None
    pending: "tuple[keras.Layer, Value] | None" = None


@dataclass
class Context:
    """One call of a model, as its layers see it.

    Attributes:
        call: what the points round to.
        joined: names of layers whose operator goes on with the next layer.
        frozen: whether batch normalization stays as it is, () boolean.
        training: whether the call trains.
    """

    call: Call
    joined: frozenset[str]
    frozen: Array
    training: bool

    def point(self, name: str, x: Array, fixed: Grid | None = None) -> Value:
        """A value that a device rounds."""
        at = Rounding(self.call, fixed={name: fixed} if fixed else {})
        return Value(at(name, x), at.grid(name), name)

    def result(self, layer: keras.Layer, x: Array) -> Value:
        """A layer's result, which is rounded unless its operator goes on."""
        return Value(x, None) if layer.name in self.joined else self.point(layer.name, x)

    def activated(self, layer: keras.Layer, x: Array, function: Any) -> Value:
        """The result of a layer that ends in an activation."""
        name = getattr(function, "__name__", "")
        if name in ("linear", "relu"):  # the second is a part of integer operators
            return self.result(layer, function(x))
        fixed = fixed_by(self.call.scheme, name)
        if fixed is None:
            raise unsupported(
                layer, f"its activation is {name}, not linear, relu, tanh, sigmoid or softmax"
            )
        return self.point(layer.name, function(x), fixed)


def unsupported(layer: Any, reason: str | None = None) -> ValueError:
    """The error for a layer that has no integer counterpart here."""
    known = ", ".join(sorted({kind.__name__ for kind in HANDLERS}))
    reason = reason or f"its kind is none of {known}"
    return ValueError(
        f"`model` has layer `{layer.name}` ({type(layer).__name__}), which can't be trained in "
        f"integers: {reason}. Change the layer, or quantize after training with `calibration`"
    )


def _product(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    if layer.name in context.joined and is_normalized(layer):
        return Value(None, None, pending=(layer, v))
    at = Rounding(context.call, operands={"x": v.grid})
    y = product(layer, v.x, at, _point_of(layer, context.joined))
    return _after(context, layer, y)


def _after(context: Context, layer: keras.Layer, y: Array) -> Value:
    if comes_apart(layer):
        y = context.point(f"{layer.name}/{SUM}", y).x
    return context.activated(layer, y, layer.activation)


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
    return context.activated(layer, v.x, activation_of(layer))


def _same_grid(context: Context, layer: keras.Layer, v: Value, **_: Any) -> Value:
    options = {"training": context.training} if isinstance(layer, ONLY_TRAINING) else {}
    return Value(layer(v.x, **options), v.grid, v.point)


def _average(context: Context, layer: keras.Layer, v: Value, mask: Any = None) -> Value:
    if mask is not None:
        raise unsupported(layer, "it would count masked frames")
    return context.point(layer.name, layer(v.x))


def _standardized(context: Context, layer: keras.layers.Normalization, v: Value, **_: Any) -> Value:
    if layer.invert:
        raise unsupported(layer, "`invert=True`")
    at = Rounding(context.call)
    mean, factor = map(at.vector, standardization(layer))
    centred = context.point(f"{layer.name}/{SUM}", v.x - mean)
    return context.point(layer.name, centred.x * factor)


def standardization(layer: keras.layers.Normalization) -> tuple[Array, Array]:
    """What is taken off a frame, and what the rest is multiplied by."""
    deviation = ops.maximum(ops.sqrt(layer.variance), keras.config.epsilon())
    return ops.convert_to_tensor(layer.mean), 1.0 / deviation


def _embedding(context: Context, layer: keras.layers.Embedding, tokens: Array, **_: Any) -> Value:
    table = ops.convert_to_tensor(layer.embeddings)
    still = ops.stop_gradient(table)
    grid = context.call.scheme.grid(ops.min(still), ops.max(still))
    found = ops.take(Rounding(context.call).vector(table), tokens, axis=0)
    return Value(found, grid)


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
    if isinstance(layer, keras.layers.Multiply) or not (one.point and other.point):
        return context.point(layer.name, ELEMENTWISE[type(layer)](one.x, other.x))
    at = Rounding(context.call)
    add = at.sum if isinstance(layer, keras.layers.Add) else at.difference
    y = add(layer.name, one.x, other.x, (one.point, other.point))
    return Value(y, at.grid(layer.name), layer.name)


def _recurrent(
    context: Context,
    layer: keras.layers.RNN,
    v: Value,
    mask: Any = None,
    initial_state: Any = None,
) -> Any:
    check_recurrent(layer)
    states = [s.x for s in keras.tree.flatten(initial_state)] if initial_state else None
    found = run_recurrent(
        layer, v.x, v.grid, context.call, layer.name, mask, states, context.training
    )
    values = [Value(*one) for one in found]
    return values if layer.return_state else values[0]


def check_recurrent(layer: keras.layers.RNN) -> None:
    """Refuse a recurrent layer that no integer step stands for."""
    cell = layer.cell
    reasons = {
        "its cell is not kgated's or Keras's LSTM or GRU": not isinstance(layer, GatedRNN),
        "`stateful=True`": layer.stateful,
        "`layer_norm=True`": getattr(cell, "layer_norm", False),
    }
    for name in ("activation", "recurrent_activation"):
        function = getattr(cell, name, keras.activations.tanh)
        known = getattr(function, "__name__", "") in ("tanh", "sigmoid", "relu")
        reasons[f"its `{name}` is not tanh, sigmoid or relu"] = not known
    for reason, holds in reasons.items():
        if holds:
            raise unsupported(layer, reason)


def _both_ways(
    context: Context, layer: keras.layers.Bidirectional, v: Value, mask: Any = None
) -> Value:
    ways = layer.forward_layer, layer.backward_layer
    if layer.return_state or layer.merge_mode not in ("concat", "sum", "mul"):
        raise unsupported(layer, '`return_state`, or a `merge_mode` not "concat", "sum" or "mul"')
    found = []
    for way in ways:
        check_recurrent(way)
        name = f"{layer.name}/{way.name}"
        outputs = run_recurrent(
            way, v.x, v.grid, context.call, name, mask, training=context.training
        )
        found.append(outputs[0])
    (there, first, one), (back, second, other) = found
    back = ops.flip(back, axis=1) if layer.return_sequences else back
    if layer.merge_mode == "mul":
        return context.point(layer.name, there * back)
    at = Rounding(context.call)
    if layer.merge_mode == "concat":
        y = at.joined(layer.name, [(there, first), (back, second)], -1)
    else:
        y = at.sum(layer.name, there, back, (one, other))
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
    keras.layers.RNN: _recurrent,
    keras.layers.Bidirectional: _both_ways,
}
