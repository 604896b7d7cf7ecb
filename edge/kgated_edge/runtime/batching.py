"""Sequences cut into what one step takes: a frame, a block of frames, or one of these per input."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import check_frames


def by_name(specs: Sequence[TensorSpec], value: Any) -> dict[str, Any]:
    """What the caller gave for all inputs, by their names: a mapping, or alone for the only one.

    Raises:
        FrameError: there are several inputs, and `value` is no mapping of just their names.
    """
    if len(specs) == 1:
        return {specs[0].name: value}
    names = [spec.name for spec in specs]
    if not isinstance(value, Mapping) or set(value) != set(names):
        got = sorted(value) if isinstance(value, Mapping) else f"a {type(value).__name__}"
        raise FrameError(f"this model takes a dict of {names}, got {got}: pass one array per name")
    return dict(value)


def alone(values: Mapping[str, Any]) -> Any:
    """The only value of a mapping, or the mapping where it holds several."""
    return next(iter(values.values())) if len(values) == 1 else values


def for_rows(values: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """The arrays, each row of a batch with the same one."""
    if batch == 1:
        return dict(values)
    return {name: np.broadcast_to(value, (batch, *value.shape)) for name, value in values.items()}


def last(results: Array, count: int, batch: int) -> Array:
    """So many of the results (n, ...), or (batch, n, ...), from the end."""
    return results[-count:] if batch == 1 else results[:, -count:]


def cut(
    specs: Sequence[TensorSpec], size: int, frames: Any, batch: int = 1, finite: bool = True
) -> list[Any]:
    """What each call of `step` takes in turn.

    Args:
        specs: the inputs, as the manifest describes one frame of each.
        size: frames per step; what is left at the end after whole steps is not used.
        frames: (T, *frame) of the frame's dtype, or a dict of such arrays of one length.
        batch: above 1, how many sequences there are: (batch, T, *frame).
        finite: whether NaN and inf are refused here.

    Raises:
        FrameError: another shape or dtype, a bad frame, inputs of different lengths.
    """
    arrays = by_name(specs, frames)
    for spec in specs:
        for row in rows(spec, arrays[spec.name], batch):
            check_named(spec, row, len(specs) > 1, finite)
    count_frames(arrays, batch)
    steps = {name: _steps(array, size, batch) for name, array in arrays.items()}
    if len(specs) == 1:
        return list(steps[specs[0].name])
    return [dict(zip(steps, parts, strict=True)) for parts in zip(*steps.values(), strict=True)]


def rows(spec: TensorSpec, array: Any, batch: int) -> Any:
    """The sequences in what the caller gave, which is one where `batch` is 1.

    Raises:
        FrameError: there are not so many.
    """
    if batch == 1:
        return [array]
    shape: tuple[int, ...] = getattr(array, "shape", ())
    if len(shape) != 2 + len(spec.shape) or shape[0] != batch:
        got = f"shape {shape}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
        expected = ", ".join(map(str, (batch, "T", *spec.shape)))
        raise FrameError(f"this model takes {batch} sequences at once, ({expected}), got {got}")
    return array


def count_frames(arrays: Mapping[str, Any], batch: int) -> int:
    """How many frames each of the arrays, (T, *frame) or (batch, T, *frame), holds.

    Raises:
        FrameError: not all as many.
    """
    axis = 0 if batch == 1 else 1
    lengths = {name: int(np.atleast_1d(x).shape[axis]) for name, x in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise FrameError(f"the inputs must have as many frames each, got {lengths}: cut them")
    return next(iter(lengths.values()))


def _steps(array: Array, size: int, batch: int) -> Array:
    """The blocks along the first axis; in each, rows come first where there are several."""
    if batch > 1:
        array = np.moveaxis(array, 1, 0)
    if size == 1:
        return array
    count = len(array) // size
    blocks = array[: count * size].reshape(count, size, *array.shape[1:])
    return blocks if batch == 1 else np.moveaxis(blocks, 2, 1)


def check_named(spec: TensorSpec, array: Any, named: bool, finite: bool = True) -> None:
    """Checks a sequence (T, *frame) of one input, and names it where there are several.

    Raises:
        FrameError: as from `check_frames`.
    """
    try:
        check_frames(spec, array, finite)
    except FrameError as error:
        raise (type(error)(f"input `{spec.name}`: {error}") if named else error) from None
