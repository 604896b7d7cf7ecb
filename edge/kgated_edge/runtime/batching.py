"""Splits sequences into the argument of each step: a frame or a block of frames, per input."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import check_frames


def as_dict(specs: Sequence[TensorSpec], value: Any) -> dict[str, Any]:
    """The values of all tensors by name; for a single tensor the value itself is passed.

    Raises:
        FrameError: there are several tensors, and `value` is no mapping with exactly their names.
    """
    if len(specs) == 1:
        return {specs[0].name: value}
    names = [spec.name for spec in specs]
    if not isinstance(value, Mapping) or set(value) != set(names):
        got = sorted(value) if isinstance(value, Mapping) else f"a {type(value).__name__}"
        raise FrameError(f"this model takes a dict of {names}, got {got}: pass one array per name")
    return dict(value)


def unwrap_single(values: Mapping[str, Any]) -> Any:
    """The value of a mapping of one, or the mapping where it holds several."""
    return next(iter(values.values())) if len(values) == 1 else values


def broadcast_batch(values: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """The arrays repeated for each row of a batch: (batch, ...), and (...) for a batch of 1."""
    if batch == 1:
        return dict(values)
    return {name: np.broadcast_to(value, (batch, *value.shape)) for name, value in values.items()}


def tail(results: Array, count: int, batch: int) -> Array:
    """The last `count` of the results (n, ...), or (batch, n, ...) where `batch` is above 1."""
    return results[-count:] if batch == 1 else results[:, -count:]


def split_steps(
    specs: Sequence[TensorSpec], size: int, frames: Any, batch: int = 1, finite: bool = True
) -> list[Any]:
    """The argument of each call of `step`, in order.

    Args:
        specs: one frame of each input, as in the manifest.
        size: frames per step; an incomplete step at the end is left out.
        frames: (T, *frame) of the frame's dtype, or a dict of such arrays of one length.
        batch: number of sequences; above 1 the arrays are (batch, T, *frame).
        finite: whether to refuse NaN and inf.

    Raises:
        FrameError: another shape or dtype, an invalid frame, inputs of different lengths.
    """
    arrays = as_dict(specs, frames)
    for spec in specs:
        for row in rows(spec, arrays[spec.name], batch):
            check_named(spec, row, len(specs) > 1, finite)
    count_frames(arrays, batch)
    steps = {name: _steps(array, size, batch) for name, array in arrays.items()}
    if len(specs) == 1:
        return list(steps[specs[0].name])
    return [dict(zip(steps, parts, strict=True)) for parts in zip(*steps.values(), strict=True)]


def rows(spec: TensorSpec, array: Any, batch: int) -> Any:
    """The sequences of a batch: (batch, T, *frame), or a list of the one (T, *frame).

    Raises:
        FrameError: there are more or fewer.
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
    """The number of frames T of the arrays, (T, *frame) or (batch, T, *frame).

    Raises:
        FrameError: they differ.
    """
    axis = 0 if batch == 1 else 1
    lengths = {name: int(np.atleast_1d(x).shape[axis]) for name, x in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise FrameError(f"the inputs must have the same number of frames, got {lengths}: cut them")
    return next(iter(lengths.values()))


def _steps(array: Array, size: int, batch: int) -> Array:
    """The blocks along the first axis; in each, the batch axis comes first where there is one."""
    if batch > 1:
        array = np.moveaxis(array, 1, 0)
    if size == 1:
        return array
    count = len(array) // size
    blocks = array[: count * size].reshape(count, size, *array.shape[1:])
    return blocks if batch == 1 else np.moveaxis(blocks, 2, 1)


def check_named(spec: TensorSpec, array: Any, named: bool, finite: bool = True) -> None:
    """Checks a sequence (T, *frame) of one input; with `named`, the error names the input.

    Raises:
        FrameError: as from `check_frames`.
    """
    try:
        check_frames(spec, array, finite)
    except FrameError as error:
        raise (type(error)(f"input `{spec.name}`: {error}") if named else error) from None
