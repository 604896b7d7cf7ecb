"""Recurrent layers as a device computes them in integers, one way and both ways."""

from typing import Any

import keras
from keras import ops

from kgated.layers import GatedRNN
from kgated.optimize.qat.loop import run_recurrent
from kgated.optimize.qat.quantizer import Rounding
from kgated.optimize.qat.values import Context, Value, unsupported


def recurrent(
    context: Context,
    layer: keras.layers.RNN,
    v: Value,
    mask: Any = None,
    initial_state: Any = None,
) -> Any:
    """The results of a recurrent layer."""
    _check(layer)
    states = [s.x for s in keras.tree.flatten(initial_state)] if initial_state else None
    found = run_recurrent(
        layer, v.x, v.grid, context.call, layer.name, mask, states, context.training
    )
    values = [Value(*one) for one in found]
    return values if layer.return_state else values[0]


def both_ways(
    context: Context, layer: keras.layers.Bidirectional, v: Value, mask: Any = None
) -> Value:
    """The results of a recurrent layer and of its twin that goes backwards, merged."""
    ways = layer.forward_layer, layer.backward_layer
    if layer.return_state or layer.merge_mode not in ("concat", "sum", "mul"):
        raise unsupported(layer, '`return_state`, or a `merge_mode` not "concat", "sum" or "mul"')
    found = []
    for way in ways:
        _check(way)
        name = f"{layer.name}/{way.name}"
        outputs = run_recurrent(
            way, v.x, v.grid, context.call, name, mask, training=context.training
        )
        found.append(outputs[0])
    (there, first, one), (back, second, other) = found
    back = ops.flip(back, axis=1) if layer.return_sequences else back
    at = Rounding(context.call)
    if layer.merge_mode == "concat":
        y = at.joined(layer.name, [(there, first), (back, second)], -1)
    else:
        merge = at.product if layer.merge_mode == "mul" else at.sum
        y = merge(layer.name, there, back, (one, other))
    return Value(y, at.grid(layer.name), layer.name)


def _check(layer: keras.layers.RNN) -> None:
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
