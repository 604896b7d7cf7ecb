"""Recurrent layers: the cell's step for each frame of a block, its states in and out."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.cells.base import GatedCell
from kgated.cells.stepwise import RowStep, initial_states, rows_and_step, step_once
from kgated.deploy.sequence.rnn import Lowering, StaticRNN
from kgated.deploy.streaming.context import Handler, Handlers, StreamContext
from kgated.deploy.streaming.unsupported import WHOLE, unsupported
from kgated.keras_internals.graph import has_own, mask_of
from kgated.layers import to_gated

# Cells whose output is their first state.
PLAIN_CELLS = (GatedCell, keras.layers.SimpleRNNCell)


class RecurrentStep(keras.layers.Layer):
    """A recurrent layer on a block: [x (B, n, ...), *states] to [output, *new states].

    The output is (B, n, ...) with the layer's `return_sequences`, else (B, ...), the last frame's.
    Where a frame is masked, the states stay, and the output is the one before, or zeros with the
    layer's `zero_output_for_mask`, as in `keras.layers.RNN`.

    Args:
        layer: the layer.
        states: the cell's states before the first frame, in the structure that the cell takes.
        output_state: whether the first state is the output before.
        started_state: whether the last state (B, 1) is 0 before the first frame, when the cell's
            own initial states replace the other ones, and 1 after it.
        name: its own name.
        affine: computes `x·W + h·R + b` of a single frame.
        loops: whether the frames of a block are a loop and not steps in the graph.
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        states: Any,
        output_state: bool,
        started_state: bool,
        name: str,
        affine: Callable[..., Any],
        loops: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.loops = loops
        self.layer, self.affine = layer, affine
        self.output_state, self.started_state = output_state, started_state
        # A function, so that Keras does not track what it holds.
        self._structure: Callable[[], Any] = lambda: states
        self.built = True

    def call(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """One block; see the class."""
        x, *states = inputs
        if self.started_state:
            *states, started = states
            states = self._with_initial(states, started)
        masked = mask is not None and mask[0] is not None
        if self.loops and x.shape[1] > 1 and not masked:
            static = StaticRNN(self.layer, Lowering("while"), self.layer.name)
            return [*static(x, states), *self._started(inputs)]
        valid = [ops.expand_dims(v, -1) for v in _frames(mask[0])] if mask and masked else None
        rows, step = self._rows_and_step(x)
        outputs = []
        for n, row in enumerate(rows):
            output, states = self._frame(row, step, states, valid[n] if valid else None)
            outputs.append(output)
        result = _stacked(outputs) if self.layer.return_sequences else outputs[-1]
        return [result, *states, *self._started(inputs)]

    def _started(self, inputs: list[Any]) -> list[Any]:
        """The state that says whether the stream has begun, where there is one."""
        return [ops.maximum(inputs[-1], 1.0)] if self.started_state else []

    def _rows_and_step(self, x: Any) -> tuple[list[list[Any]], RowStep]:
        """The argument of the step for each frame, and the step.

        The products of all frames of a block with the input weights are one.
        """
        cell, structure = self.layer.cell, self._structure()
        if x.shape[1] == 1:
            return [_frames(x)], lambda row, states: step_once(
                cell, row[0], states, structure, self.affine
            )
        products, step = rows_and_step(cell, x, structure)
        return [list(rows) for rows in zip(*map(_frames, products), strict=True)], step

    def _with_initial(self, states: list[Any], started: Any) -> list[Any]:
        """The states, or the cell's initial ones before the first frame."""
        initial = keras.tree.flatten(initial_states(self.layer, int(started.shape[0])))
        output, own = (states[:1], states[1:]) if self.output_state else ([], states)
        return [
            *output,
            *(
                ops.where(_to_rank(started > 0.5, state), state, first)
                for state, first in zip(own, initial, strict=True)
            ),
        ]

    def _frame(
        self, row: list[Any], step: RowStep, old: list[Any], valid: Any
    ) -> tuple[Any, list[Any]]:
        """One frame, `valid` (B, 1) where it may be masked."""
        states = old[1:] if self.output_state else old
        output, new = step(row, states)
        new = [output, *new] if self.output_state else new
        if valid is None:
            return output, new
        masked = ops.zeros_like(output) if self.layer.zero_output_for_mask else old[0]
        output = ops.where(_to_rank(valid, output), output, masked)
        return output, [ops.where(_to_rank(valid, n), n, o) for n, o in zip(new, old, strict=True)]

    def compute_mask(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """An output per frame has the mask of the frames; other outputs and states have none."""
        passed = mask[0] if mask and self.layer.return_sequences else None
        return [passed] + [None] * (len(inputs) - 1)


def _to_rank(flag: Any, x: Any) -> Any:
    """A flag (B, 1) with as many axes as a tensor (B, ...)."""
    axes = (1,) * (len(x.shape) - 2)
    return ops.reshape(flag, (*flag.shape, *axes)) if axes else flag


def _frames(x: Any) -> list[Any]:
    """The frames of a block; a single one without an operation that copies."""
    return [ops.squeeze(x, 1)] if x.shape[1] == 1 else list(ops.unstack(x, axis=1))


def _stacked(frames: list[Any]) -> Any:
    return ops.expand_dims(frames[0], 1) if len(frames) == 1 else ops.stack(frames, 1)


def _recurrent(
    context: StreamContext, layer: keras.layers.RNN, x: Any, mask: Any = None, **call: Any
) -> Any:
    _check_streams(layer, call)
    layer = context.copy_once(layer, to_gated)
    initial = initial_states(layer, context.batch)
    shapes = dict(zip(_state_names(layer, initial), map(_shape, _flat(initial)), strict=True))
    mask = mask_of(x) if mask is None else mask
    output_state = mask is not None and not isinstance(layer.cell, PLAIN_CELLS)
    started_state = any(np.any(ops.convert_to_numpy(state)) for state in _flat(initial))
    if output_state:
        shapes = {f"{layer.name}_output": _output_shape(layer, x), **shapes}
    if started_state:
        shapes[f"{layer.name}_started"] = (1,)
    states = [context.state(name, *shape) for name, shape in shapes.items()]
    step = RecurrentStep(
        layer,
        initial,
        output_state,
        started_state,
        context.unique(f"{layer.name}_step"),
        context.affine,
        context.lowering.name == "while",
    )
    tensors = [x, *(value for _, value in states)]
    output, *new = step(tensors, mask=[mask] + [None] * len(states))
    context.outputs.update(zip((name for name, _ in states), new, strict=True))
    return context.timed(output) if layer.return_sequences else output


def _flat(states: Any) -> list[Any]:
    return list(keras.tree.flatten(states))


def _shape(state: Any) -> tuple[int, ...]:
    """The shape of a state (B, ...), without B."""
    return tuple(int(size) for size in state.shape[1:])


def _output_shape(layer: keras.layers.RNN, x: Any) -> tuple[int, ...]:
    """The shape of one output (B, ...), without B."""
    return tuple(layer.compute_output_shape(tuple(x.shape))[2 if layer.return_sequences else 1 :])


def _state_names(layer: keras.layers.RNN, states: Any) -> list[str]:
    count = len(_flat(states))
    if isinstance(layer.cell, GatedCell):
        return [f"{layer.name}_{letter}" for letter in "hc"[:count]]
    return [f"{layer.name}_state{k}" for k in range(count)]


def _check_streams(layer: keras.layers.RNN, call: dict[str, Any]) -> None:
    own = next((name for name in ("call", "inner_loop") if has_own(name, layer)), None)
    reasons = {
        f"`go_backwards=True`: {WHOLE}, or train it with `go_backwards=False`": layer.go_backwards,
        "`return_state=True` has no meaning for a stream, whose states are outputs already; build "
        "it with `return_state=False`": layer.return_state,
        "`initial_state` is computed in the model; a stream starts once, from the cell's own "
        "initial states, so give it a cell with `get_initial_state`": (
            call.get("initial_state") is not None
        ),
        f"its class has a `{own}` of its own, which only a whole sequence can run; write the step "
        "as a cell": own is not None,
    }
    for reason, holds in reasons.items():
        if holds:
            raise unsupported(layer, reason)


HANDLERS: Handlers = {keras.layers.RNN: Handler(_recurrent)}
