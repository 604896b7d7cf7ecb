"""Integer computation of recurrent layers, in one or both directions."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import keras
from keras import ops

from kgated.cells import LSTMCell, MinimalCell
from kgated.layers import GatedRNN, run_loop
from kgated.optimize.qat.fake_quant import Array, QuantParams, Scheme
from kgated.optimize.qat.forward import RangeObserver
from kgated.optimize.qat.prepare import unsupported
from kgated.optimize.qat.quantizer import Context, FakeQuantizer, Value

# The points that are results of the activations of a cell.
SIGMOID_POINTS = ("i", "f", "o", "z|r", "z", "r")
TANH_POINTS = ("g", "tanh_c")
# Below every value: the initial value of a maximum.
NO_MAXIMUM = -3.0e38


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
    values = run_recurrent(context, layer, v, layer.name, mask, states)
    return values if layer.return_state else values[0]


def bidirectional(
    context: Context, layer: keras.layers.Bidirectional, v: Value, mask: Any = None
) -> Value:
    """The merged results of the forward and the backward layer."""
    if layer.return_state or layer.merge_mode not in ("concat", "sum", "mul"):
        raise unsupported(layer, '`return_state`, or a `merge_mode` not "concat", "sum" or "mul"')
    results = []
    for direction in (layer.forward_layer, layer.backward_layer):
        _check(direction)
        name = f"{layer.name}/{direction.name}"
        results.append(run_recurrent(context, direction, v, name, mask)[0])
    forward, backward = results
    assert forward.point is not None
    assert backward.point is not None
    reversed_ = ops.flip(backward.x, axis=1) if layer.return_sequences else backward.x
    quantizer = context.quantizer()
    if layer.merge_mode == "concat":
        pairs = [(forward.x, forward.params), (reversed_, backward.params)]
        y = quantizer.concatenate(layer.name, pairs, -1)
    else:
        merge = quantizer.product if layer.merge_mode == "mul" else quantizer.sum
        y = merge(layer.name, forward.x, reversed_, (forward.point, backward.point))
    return Value(y, quantizer.params(layer.name), layer.name)


def _check(layer: keras.layers.RNN) -> None:
    """Refuse a recurrent layer that has no integer counterpart."""
    cell = layer.cell
    reasons = {
        "its cell is not kgated's, or Keras's LSTM or GRU": not isinstance(layer, GatedRNN),
        "`stateful=True`": layer.stateful,
        "`layer_norm=True`": getattr(cell, "layer_norm", False),
    }
    for name in ("activation", "recurrent_activation"):
        function = getattr(getattr(cell, name, keras.activations.tanh), "__name__", "a callable")
        reason = f"its `{name}` is {function}, not tanh, sigmoid or relu"
        linear_candidate = function == "linear" and isinstance(cell, MinimalCell)
        reasons[reason] = function not in ("tanh", "sigmoid", "relu") and not linear_candidate
    for reason, holds in reasons.items():
        if holds:
            raise unsupported(layer, reason)


def run_recurrent(
    context: Context,
    layer: keras.layers.RNN,
    v: Value,
    name: str,
    mask: Array | None = None,
    initial_state: list[Array] | None = None,
) -> list[Value]:
    """Run a layer of kgated over rounded frames (B, T, F).

    Args:
        context: of the forward pass; in training with dropout.
        layer: a `GatedRNN` that is not stateful.
        v: the frames.
        name: of the layer, the prefix of its points.
        mask: (B, T) boolean.
        initial_state: (B, ...) each; None: zeros.

    Returns:
        The output, and the states where the layer returns them.
    """
    cell, states = layer.cell, initial_state or layer.get_initial_state(ops.shape(v.x)[0])
    states = [ops.cast(state, context.state.dtype) for state in states]
    x, drop_state = _with_dropout(cell, v.x, states, context.state.training)
    state_point, prefix = cell.state_points[0], f"{name}/"
    ranges = _LoopRanges(context.observer, prefix)
    hook = FakeQuantizer(
        context.state,
        ranges.observer,
        prefix,
        _fixed_params(cell, context.state.scheme),
        {"x": v.params, "state": prefix + state_point},
    )
    rows, step = cell.over_rows(x, hook)
    ranges.leave_prologue()
    cuts = list(accumulate(row.shape[-1] for row in rows))[:-1]

    def loop_step(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
        blocks = ops.split(row, cuts, axis=-1) if cuts else [row]
        return step(blocks, drop_state(states[0]), states)

    last, outputs, states = run_loop(
        layer,
        ranges.observe_step(loop_step),
        ops.concatenate(rows, axis=-1),
        [*states, *ranges.initial_state(ops.shape(x)[0])],
        mask,
    )
    states = ranges.take_from(states)
    results = [outputs if layer.return_sequences else last]
    results += states if layer.return_state else []
    points = [state_point, *cell.state_points][: len(results)]
    return [Value(y, hook.params(p), prefix + p) for y, p in zip(results, points, strict=True)]


def _fixed_params(cell: Any, scheme: Scheme) -> dict[str, QuantParams]:
    """The parameters that kernels fix, by point."""
    fixed: dict[str, QuantParams] = {}
    sigmoid = getattr(cell, "recurrent_activation", keras.activations.sigmoid)
    functions = (SIGMOID_POINTS, sigmoid), (TANH_POINTS, cell.activation)
    for names, function in functions:
        params = scheme.fixed_params(getattr(function, "__name__", ""))
        fixed |= dict.fromkeys(names, params) if params else {}
    if isinstance(cell, LSTMCell) and cell.coupled_gates:
        fixed.pop("i", None)  # 1 - f
    return fixed


def _with_dropout(
    cell: Any, x: Array, states: list[Array], training: bool
) -> tuple[Array, Callable[[Array], Array]]:
    """The frames with dropout, and the function that applies dropout to a state."""
    if training and cell.dropout:
        x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0]), 1)
        cell.reset_dropout_mask()
    if not (training and cell.recurrent_dropout):
        return x, lambda h: h
    mask = cell.get_recurrent_dropout_mask(states[0])
    cell.reset_recurrent_dropout_mask()
    return x, lambda h: h * mask


class _LoopRanges:
    """Carries the ranges through a loop as an additional state (B, 2P): the maxima of -x and x.

    Without a `RangeObserver`, nothing is carried.
    """

    def __init__(self, observer: Any, prefix: str) -> None:
        self._outer = observer if isinstance(observer, RangeObserver) else None
        self._points: list[str] = []
        self.observer = observer
        if self._outer is not None:
            self._points = [name for name in self._outer.points if name.startswith(prefix)]
            self._inner = RangeObserver(self._points, per_row=True)
            self.observer = self._inner

    def leave_prologue(self) -> None:
        """Record the maxima observed before the loop. The loop observes the other points."""
        if self._outer is None:
            return
        observed = self._inner.drain()
        for name, (low, high) in observed.items():
            self._outer.record(name, (ops.max(low), ops.max(high)))
        self._points = [name for name in self._points if name not in observed]

    def initial_state(self, batch: Any) -> list[Array]:
        """The initial value of the carried state."""
        if self._outer is None:
            return []
        return [ops.full((batch, 2 * len(self._points)), NO_MAXIMUM)]

    def observe_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The step with the carried state."""
        if self._outer is None:
            return step

        def observing(row: Array, states: list[Array]) -> tuple[Array, list[Array]]:
            *states, maxima = states
            output, new = step(row, states)
            observed = self._inner.drain()
            now = ops.stack([part for name in self._points for part in observed[name]], axis=-1)
            return output, [*new, ops.maximum(maxima, now)]

        return observing

    def take_from(self, states: list[Array]) -> list[Array]:
        """Record the carried state at the end of the loop; return the other states."""
        if self._outer is None:
            return states
        *states, maxima = states
        parts = ops.unstack(ops.max(maxima, axis=0), 2 * len(self._points))
        for name, low, high in zip(self._points, parts[::2], parts[1::2], strict=True):
            self._outer.record(name, (low, high))
        return states
