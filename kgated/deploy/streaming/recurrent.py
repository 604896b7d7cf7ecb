"""Recurrent layers: the cell's step for each frame of a block, its states in and out."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated.cells import GRUCell, LSTMCell
from kgated.cells.stepwise import step_once
from kgated.deploy.streaming.context import Handler, Handlers, Walk
from kgated.deploy.streaming.unsupported import WHOLE, refusal
from kgated.layers import to_gated

# Cells whose output is their first state.
PLAIN_CELLS = (LSTMCell, GRUCell, keras.layers.SimpleRNNCell)


class RecurrentStep(keras.layers.Layer):
    """A recurrent layer on a block: [x (1, n, F), *states] to [output, *new states].

    The output is (1, n, U) with the layer's `return_sequences`, else (1, U), the last frame's.
    Where a frame is masked, the states stay, and the output is the one before, or zeros with the
    layer's `zero_output_for_mask`, as in `keras.layers.RNN`. The first state is the output before,
    where the cell has none that is (`carries_output`).
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        carries_output: bool,
        name: str,
        affine: Callable[..., Any],
    ) -> None:
        super().__init__(name=name)
        self.affine = affine
        self.cell = layer.cell
        self.carries_output = carries_output
        self.zero_output_for_mask = layer.zero_output_for_mask
        self.return_sequences = layer.return_sequences
        self.built = True

    def call(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """One block; see the class."""
        x, *states = inputs
        masks = [None] * x.shape[1]
        if mask is not None and mask[0] is not None:
            masks = [ops.expand_dims(one, -1) for one in _frames(mask[0])]
        outputs = []
        for frame, real in zip(_frames(x), masks, strict=True):
            output, states = self._frame(frame, states, real)
            outputs.append(output)
        return [_joined(outputs) if self.return_sequences else outputs[-1], *states]

    def _frame(self, x: Any, old: list[Any], real: Any) -> tuple[Any, list[Any]]:
        """One frame (1, F), `real` (1, 1) where it may be masked."""
        states = old[1:] if self.carries_output else old
        output, new = step_once(self.cell, x, states, self.affine)
        new = [output, *new] if self.carries_output else new
        if real is None:
            return output, new
        masked = ops.zeros_like(output) if self.zero_output_for_mask else old[0]
        output = ops.where(real, output, masked)
        return output, [ops.where(real, n, o) for n, o in zip(new, old, strict=True)]

    def compute_mask(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """An output per frame carries the frames' mask on; other outputs and states carry none."""
        carried = mask[0] if mask and self.return_sequences else None
        return [carried] + [None] * (len(inputs) - 1)


def _frames(x: Any) -> list[Any]:
    """The frames of a block; of one frame without an operation that copies."""
    return [ops.squeeze(x, 1)] if x.shape[1] == 1 else list(ops.unstack(x, axis=1))


def _joined(frames: list[Any]) -> Any:
    return ops.expand_dims(frames[0], 1) if len(frames) == 1 else ops.stack(frames, 1)


def _recurrent(walk: Walk, layer: keras.layers.RNN, x: Any, mask: Any = None, **call: Any) -> Any:
    _check_streams(layer, x, call)
    layer = to_gated(layer)
    sizes = dict(zip(_state_names(layer), keras.tree.flatten(layer.state_size), strict=True))
    mask = getattr(x, "_keras_mask", None) if mask is None else mask
    carries_output = mask is not None and not isinstance(layer.cell, PLAIN_CELLS)
    if carries_output:
        sizes = {f"{layer.name}_output": layer.cell.output_size, **sizes}
    states = [walk.state(name, size) for name, size in sizes.items()]
    masks = [mask] + [None] * len(states)
    step = RecurrentStep(layer, carries_output, walk.unique(f"{layer.name}_step"), walk.affine)
    found = step([x, *(value for _, value in states)], mask=masks)
    walk.outputs.update(zip((name for name, _ in states), found[1:], strict=True))
    return walk.timed(found[0]) if layer.return_sequences else found[0]


def _state_names(layer: keras.layers.RNN) -> list[str]:
    sizes = keras.tree.flatten(layer.state_size)
    if isinstance(layer.cell, LSTMCell | GRUCell):
        return [f"{layer.name}_{letter}" for letter in "hc"[: len(sizes)]]
    return [f"{layer.name}_state{k}" for k in range(len(sizes))]


def _check_streams(layer: keras.layers.RNN, x: Any, call: dict[str, Any]) -> None:
    reasons = {
        f"`go_backwards=True`: {WHOLE}, or train it with `go_backwards=False`": layer.go_backwards,
        "`return_state=True` has no meaning for a stream, whose states are outputs already; build "
        "it with `return_state=False`": layer.return_state,
        "`initial_state` is part of the model; a stream starts from zeros or the state it is "
        "given, so build the model without it": call.get("initial_state") is not None,
        "its frames have several axes; flatten each with `TimeDistributed(Flatten())` and use a "
        "layer over vectors": len(x.shape) != 3,
    }
    for reason, holds in reasons.items():
        if holds:
            raise refusal(layer, reason)


HANDLERS: Handlers = {keras.layers.RNN: Handler(_recurrent)}
