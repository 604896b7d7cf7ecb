"""A recurrent layer over a fixed number of steps, unrolled or as loops of fixed shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.cells.stepwise import RowStep, initial_states, rows_and_step
from kgated.deploy.tflite.layer_table import scope_name
from kgated.steps import Array


@dataclass(frozen=True)
class Lowering:
    """How recurrent layers become operators.

    Attributes:
        name: "unrolled" or "while"; "fused" for one builtin LSTM operator.
        select: whether a masked step selects the old or the new state, as integers need, or adds
            them with weights 0 and 1, which is exact in float and avoids SELECT.
    """

    name: str
    select: bool = False


@dataclass(frozen=True)
class StaticRNN:
    """Runs a built recurrent layer over sequences of a fixed length.

    Attributes:
        layer: its cell and its options count.
        lowering: "unrolled" or "while".
        owner: the layer of the model whose name the operators get.
    """

    layer: keras.layers.RNN
    lowering: Lowering
    owner: str

    def __call__(
        self,
        x: Array,
        initial: list[Array] | None = None,
        valid: Array | None = None,
        time_order: bool = False,
    ) -> list[Array]:
        """The output, then the last states, flat.

        Args:
            x: (B, T, ...), of a fixed shape.
            initial: the states before the first step, flat; None: the cell's own.
            valid: (B, T) boolean, which frames count; None: all.
            time_order: whether the outputs of a layer with `go_backwards` are returned in the
                order of the frames.
        """
        from kgated.deploy.sequence.rnn_loops import LOWERINGS, Run

        batch, structure = int(x.shape[0]), initial_states(self.layer, int(x.shape[0]))
        states, frames = initial or keras.tree.flatten(structure), [_time_major(x)]
        output_shape = self._output_shape(x)
        if valid is not None:
            valid = valid if self.lowering.select else ops.cast(valid, "float32")
            frames = [*frames, _time_major(ops.expand_dims(valid, -1))]
            states = [*states, ops.zeros(output_shape)]
        run = Run(
            frames,
            lambda parts: self._rows_and_step(parts, structure),
            states,
            output_shape,
            self.layer.return_sequences,
            self.layer.go_backwards,
            time_order,
            scope_name(self.owner),
        )
        output, states = LOWERINGS[self.lowering.name](run)
        output = _batch_major(output, batch) if self.layer.return_sequences else output
        return [output, *(states if valid is None else states[:-1])]

    def _output_shape(self, x: Array) -> tuple[int, ...]:
        """The shape (B, ...) of one output."""
        shapes = self.layer.compute_output_shape(tuple(x.shape))
        shape = shapes[0] if self.layer.return_state else shapes
        return (shape[0], *shape[2 if self.layer.return_sequences else 1 :])

    def _rows_and_step(self, frames: list[Array], structure: Any) -> tuple[list[Array], RowStep]:
        """Rows of all that does not depend on the states, and the step on them; see `Run`."""
        x, *valid = frames
        rows, step = rows_and_step(self.layer.cell, x, structure)
        if valid:
            choose = _select if self.lowering.select else _weighted
            step = _masked(step, choose, self.layer.zero_output_for_mask)
        return [*rows, *valid], step


def _time_major(x: Array) -> Array:
    """(B, T, ...) to (T·B, ...); without a transposition where B is 1."""
    if x.shape[0] != 1:
        x = ops.transpose(x, (1, 0, *range(2, len(x.shape))))
    return ops.reshape(x, (-1, *x.shape[2:]))


def _batch_major(x: Array, batch: int) -> Array:
    """(T·B, ...) to (B, T, ...)."""
    if batch == 1:
        return ops.reshape(x, (1, *x.shape))
    x = ops.reshape(x, (-1, batch, *x.shape[1:]))
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))


def _weighted(valid: Array, new: Array, old: Array) -> Array:
    return valid * new + (1.0 - valid) * old


def _select(valid: Array, new: Array, old: Array) -> Array:
    return ops.where(valid, new, old)


def _masked(step: RowStep, choose: Callable[..., Array], zero_output: bool) -> RowStep:
    """The step for rows that end with `valid`, and states that end with the last valid output.

    Where a frame is not valid, the states stay, and the output is the last valid one, or zeros.
    """

    def masked(rows: list[Array], states: list[Array]) -> tuple[Array, list[Array]]:
        *rows, valid = rows
        *old, last = states

        def chosen(new: Array, alternative: Array) -> Array:
            axes = (1,) * (len(new.shape) - 2)
            return choose(ops.reshape(valid, (*valid.shape, *axes)), new, alternative)

        output, new = step(rows, old)
        states = [chosen(n, o) for n, o in zip(new, old, strict=True)]
        last = chosen(output, last)
        shown = chosen(output, ops.zeros_like(output)) if zero_output else last
        return shown, [*states, last]

    return masked
