"""Recurrent layers as a device computes them in integers, one way and both ways."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated.cells import LSTMCell
from kgated.layers import GatedRNN, run_loop
from kgated.optimize.qat.fake_quant import Array, Grid
from kgated.optimize.qat.forward import Call
from kgated.optimize.qat.quantizer import Context, Rounding, Value, fixed_by, unsupported

# Points that are results of the functions of a cell.
OF_SIGMOID = ("i", "f", "o", "z|r", "z", "r")


OF_TANH = ("g", "tanh_c")


NOTHING_SEEN = -3.0e38


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


def run_recurrent(
    layer: keras.layers.RNN,
    x: Array,
    grid: Grid | None,
    call: Call,
    name: str,
    mask: Array | None = None,
    initial_state: list[Array] | None = None,
    training: bool = False,
) -> list[tuple[Array, Grid, str]]:
    """A layer of ours over x (B, T, F), whose values are on `grid`.

    Args:
        layer: a `GatedRNN` that is not stateful.
        x: the frames.
        grid: what they are rounded to.
        call: the call of the model.
        name: of the layer, which the names of its points start with.
        mask: (B, T) boolean.
        initial_state: (B, ...) each; None: zeros.
        training: with dropout, and with what the points see, where the call observes.

    Returns:
        The output, and the states where the layer returns them; with the grid and point of each.
    """
    state = layer.cell.state_points[0]
    at = Rounding(
        call, f"{name}/", _fixed(layer.cell, call), {"x": grid, "state": f"{name}/{state}"}
    )
    states = initial_state or layer.get_initial_state(ops.shape(x)[0])
    states = [ops.cast(one, call.dtype) for one in states]
    x, seen_of_state = _dropped(layer.cell, x, states, training)
    rows, step = layer.cell.over_rows(x, at)
    widths = [row.shape[-1] for row in rows]
    cuts = [sum(widths[:n]) for n in range(1, len(widths))]

    def on_row(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        parts = ops.split(row, cuts, axis=-1) if cuts else [row]
        return step(parts, seen_of_state(states[0]), states)

    observed = _Observed(call, at.prefix) if call.observing else None
    if observed is not None:
        on_row, states = observed.along(on_row), [*states, observed.start(ops.shape(x)[0])]
    last, each, states = run_loop(layer, on_row, ops.concatenate(rows, axis=-1), states, mask)
    if observed is not None:
        *states, extremes = states
        observed.note(extremes)
    output = each if layer.return_sequences else last
    points = [state, *layer.cell.state_points]
    found = [output, *states] if layer.return_state else [output]
    return [(x, at.grid(p), at.prefix + p) for x, p in zip(found, points, strict=False)]


def _fixed(cell: Any, call: Call) -> dict[str, Grid]:
    found = {}
    for names, function in (
        (OF_SIGMOID, cell.recurrent_activation),
        (OF_TANH, cell.activation),
    ):
        grid = fixed_by(call.scheme, getattr(function, "__name__", ""))
        found.update(dict.fromkeys(names, call.typed(grid)) if grid else {})
    if isinstance(cell, LSTMCell) and cell.coupled_gates:
        found.pop("i", None)  # 1 - f
    return found


def _dropped(
    cell: Any, x: Array, states: list[Array], training: bool
) -> tuple[Array, Callable[[Array], Array]]:
    """The frames with dropout, and what the gates see of a state."""
    if training and cell.dropout:
        x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0]), 1)
        cell.reset_dropout_mask()
    if not (training and cell.recurrent_dropout):
        return x, lambda h: h
    kept = cell.get_recurrent_dropout_mask(states[0])
    cell.reset_recurrent_dropout_mask()
    return x, lambda h: h * kept


class _Observed:
    """The ranges inside a loop, as a state (B, 2P) of it: -least and most of each of P points."""

    def __init__(self, call: Call, prefix: str) -> None:
        assert call.learned is not None, "points are found out before anything is observed"
        mine = [name for name in call.learned if name.startswith(prefix)]
        self._call = call
        self._names = [name for name in mine if name not in call.seen]

    def start(self, batch: Any) -> Array:
        return ops.full((batch, 2 * len(self._names)), NOTHING_SEEN)

    def along(self, on_row: Callable[..., Any]) -> Callable[..., Any]:
        def observing(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
            *states, extremes = states
            with self._call.row_by_row() as seen:
                output, new = on_row(row, states)
            now = ops.stack([part for name in self._names for part in seen[name]], axis=-1)
            return output, [*new, ops.maximum(extremes, now)]

        return observing

    def note(self, extremes: Array) -> None:
        found = ops.unstack(ops.max(extremes, axis=0), 2 * len(self._names))
        pairs = zip(found[::2], found[1::2], strict=True)
        self._call.seen.update(zip(self._names, pairs, strict=True))
