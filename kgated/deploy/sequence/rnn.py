"""A recurrent layer over a fixed number of steps, each written out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.cells.base import GatedCell
from kgated.cells.stepwise import RowStep, rows_and_step
from kgated.deploy.tflite.layer_table import scope_name
from kgated.layers import to_gated
from kgated.steps import Array


@dataclass(frozen=True)
class Lowering:
    """How recurrent layers are written out.

    Attributes:
        name: "unrolled" or "while"; "fused" for `FusedLSTM` in place of `WrittenOut`.
        select: whether a masked step chooses between old and new state, as integers need, or weighs
            them by 0 and 1, which is exact in float and stays with the kernels that run the rest.
    """

    name: str
    select: bool = False


class WrittenOut(keras.layers.Layer):
    """A recurrent layer over a fixed number of steps: [x (B, T, F), *states] to Keras's outputs.

    Args:
        layer: the layer whose cell and options it takes.
        lowering: the way.
        owner: the layer of the model that it stands for.
        name: its name.
        in_time: whether outputs of a layer that goes backwards are in the order of the frames.
    """

    def __init__(
        self,
        layer: keras.layers.RNN,
        lowering: Lowering,
        owner: str,
        name: str,
        in_time: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.layer, self.lowering, self.owner = to_gated(layer), lowering, owner
        self.in_time, self.supports_masking, self.built = in_time, True, True

    def compute_mask(self, inputs: list[Array], previous_mask: Any = None) -> None:
        """Masks come in as `valid`, and the graph hands on those of the layer itself."""

    def call(self, inputs: list[Array], valid: Array | None = None) -> Any:
        """The outputs as `keras.layers.RNN` orders them; `valid` (B, T): which frames count."""
        from kgated.deploy.sequence.rnn_loops import LOWERINGS, Run

        layer, (x, *initial) = self.layer, inputs
        batch, frames = int(x.shape[0]), [_by_time(x)]
        sizes = keras.tree.flatten(layer.cell.state_size)
        width = getattr(layer.cell, "output_size", None) or sizes[0]
        states = initial or _at_rest(layer.cell, batch, sizes)
        if valid is not None:
            valid = valid if self.lowering.select else ops.cast(valid, "float32")
            frames = [*frames, _by_time(ops.expand_dims(valid, -1))]
            states = [*states, _at_rest(layer.cell, batch, [width])[0]]
        run = Run(
            frames,
            self._begin,
            states,
            batch,
            width,
            layer.return_sequences,
            layer.go_backwards,
            self.in_time,
            scope_name(self.owner),
        )
        output, states = LOWERINGS[self.lowering.name](run)
        if layer.return_sequences:
            output = _by_row(output, batch)
        return [output, *states[: len(sizes)]] if layer.return_state else output

    def _begin(self, frames: list[Array]) -> tuple[list[Array], RowStep]:
        """Rows of what the states have no part in, and the step; see `Run`."""
        x, *valid = frames
        rows, step = rows_and_step(self.layer.cell, x)
        if valid:
            step = _masked(step, _chosen if self.lowering.select else _weighed, self.layer)
        return [*rows, *valid], step


def _at_rest(cell: Any, batch: int, sizes: list[int]) -> list[Array]:
    """States of zero, at the points of a cell that has points: they are rounded as any state."""
    zeros = [ops.zeros((batch, size)) for size in sizes]
    if not isinstance(cell, GatedCell):
        return zeros
    points = cell.state_points[: len(sizes)]
    return [cell.hook(point, x) for point, x in zip(points, zeros, strict=True)]


def _by_time(x: Array) -> Array:
    """(B, T, N) to (T·B, N); for one row nothing has to move."""
    x = x if x.shape[0] == 1 else ops.transpose(x, (1, 0, 2))
    return ops.reshape(x, (-1, *x.shape[2:]))


def _by_row(x: Array, batch: int) -> Array:
    """Back, from (T·B, N) to (B, T, N)."""
    if batch == 1:
        return ops.reshape(x, (1, *x.shape))
    return ops.transpose(ops.reshape(x, (-1, batch, x.shape[-1])), (1, 0, 2))


def _weighed(counts: Array, new: Array, old: Array) -> Array:
    return counts * new + (1.0 - counts) * old


def _chosen(counts: Array, new: Array, old: Array) -> Array:
    return ops.where(counts, new, old)


def _masked(step: RowStep, choose: Callable[..., Array], layer: keras.layers.RNN) -> RowStep:
    """The step for rows that end with whether the frame counts; the states with the output.

    Where it does not, all states stay, and the output is the last one that counted, or zeros.
    """

    def masked(rows: list[Array], states: list[Array]) -> tuple[Array, list[Array]]:
        *rows, counts = rows
        *old, last = states
        output, new = step(rows, old)
        kept = [choose(counts, n, o) for n, o in zip(new, old, strict=True)]
        last = choose(counts, output, last)
        if layer.zero_output_for_mask:
            return choose(counts, output, ops.zeros_like(output)), [*kept, last]
        return last, [*kept, last]

    return masked
