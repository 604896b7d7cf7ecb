"""One step of any recurrent layer's cell, by itself or with x's part computed for all frames."""

from collections.abc import Callable
from typing import Any

import keras

from kgated import steps
from kgated.cells import GRUCell, LSTMCell
from kgated.steps import Array, Function

# (the rows (B, ...) of each array that a step takes, states) -> (output, new states)
RowStep = Callable[[list[Array], list[Array]], tuple[Array, list[Array]]]


def step_once(
    cell: Any, x: Array, states: list[Array], affine: Function = steps.affine_joined
) -> tuple[Array, list[Array]]:
    """One step in inference: x (B, F), the states flat; returns the output and the new states.

    `affine` computes `x·W + h·R + b`, for cells of ours.
    """
    if isinstance(cell, LSTMCell | GRUCell):
        return cell.step(x, states, affine=affine)
    output, new = cell.call(x, keras.tree.pack_sequence_as(cell.state_size, states))
    return output, keras.tree.flatten(new)


def rows_and_step(cell: Any, frames: Array) -> tuple[list[Array], RowStep]:
    """Split a cell's work: `x·W + b` for all frames by one wide product, the rest step by step.

    Args:
        cell: a cell of ours, or any of Keras's, which then gets each frame as it is.
        frames: (T·B, F).

    Returns:
        Arrays (T·B, ...) with a row per frame, and the step on the B rows of one time.
    """
    if isinstance(cell, LSTMCell | GRUCell):
        rows, on_rows = cell.over_rows(frames)
        return rows, lambda rows, states: on_rows(rows, states[0], states)
    return [frames], lambda rows, states: step_once(cell, rows[0], states)
