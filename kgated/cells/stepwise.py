"""One step of any recurrent layer's cell, as `keras.layers.RNN` would call it."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated import steps
from kgated.cells.base import GatedCell
from kgated.keras_internals.graph import takes_training
from kgated.steps import Array, Function

# (the rows (B, ...) of each array that a step takes, states) -> (output, new states)
RowStep = Callable[[list[Array], list[Array]], tuple[Array, list[Array]]]


def initial_states(layer: keras.layers.RNN, batch: int) -> Any:
    """The states (B, ...) before the first frame, in the structure in which the cell gets them.

    The quantization points of the states are applied where the cell has them.
    """
    states = list(layer.get_initial_state(batch_size=batch))
    if isinstance(layer.cell, GatedCell):
        points = zip(layer.cell.state_points, states, strict=False)
        return [layer.cell.hook(point, state) for point, state in points]
    return keras.tree.map_structure(lambda state: ops.cast(state, "float32"), states)


def step_once(
    cell: Any,
    x: Array,
    states: list[Array],
    structure: Any = None,
    affine: Function = steps.affine_joined,
) -> tuple[Array, list[Array]]:
    """One step in inference.

    Args:
        cell: a cell of kgated, of Keras or of the user's own.
        x: (B, ...).
        states: flat.
        structure: the structure in which the cell takes them; None: a list.
        affine: computes `x·W + h·R + b`, for cells of kgated.

    Returns:
        The output and the new states, flat.
    """
    if isinstance(cell, GatedCell):
        return cell.step(x, states, affine=affine)
    nested = states if structure is None else keras.tree.pack_sequence_as(structure, states)
    options = {"training": False} if takes_training(cell) else {}
    output, new = cell(x, nested, **options)
    return output, keras.tree.flatten(new)


def rows_and_step(cell: Any, frames: Array, structure: Any = None) -> tuple[list[Array], RowStep]:
    """Split a cell's work: `x·W + b` for all frames by one wide product, the rest step by step.

    Args:
        cell: a cell of kgated, or any other one, which then gets each frame as it is.
        frames: (T·B, ...).
        structure: as in `step_once`.

    Returns:
        Arrays (T·B, ...) with a row per frame, and the step on the B rows of one time.
    """
    if isinstance(cell, GatedCell):
        rows, step_on_rows = cell.over_rows(frames)
        return rows, lambda rows, states: step_on_rows(rows, states[0], states)
    return [frames], lambda rows, states: step_once(cell, rows[0], states, structure)
