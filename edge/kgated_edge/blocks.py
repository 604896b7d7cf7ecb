"""Sequences cut into what one step takes: a frame, a block of frames, or one of these per input."""

from collections.abc import Mapping, Sequence
from typing import Any

from kgated_edge.errors import FrameError
from kgated_edge.frames import check_frames
from kgated_edge.specs import Array, TensorSpec


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


def cut(specs: Sequence[TensorSpec], size: int, frames: Any, finite: bool = True) -> list[Any]:
    """What each call of `step` takes in turn.

    Args:
        specs: the inputs, as the manifest describes one frame of each.
        size: frames per step; what is left at the end after whole steps is not used.
        frames: (T, *frame) of the frame's dtype, or a dict of such arrays of one length.
        finite: whether NaN and inf are refused here.

    Raises:
        FrameError: another shape or dtype, a bad frame, inputs of different lengths.
    """
    arrays = by_name(specs, frames)
    for spec in specs:
        _check(spec, arrays[spec.name], len(specs) > 1, finite)
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise FrameError(f"the inputs must have as many frames each, got {lengths}: cut them")
    steps = {name: _steps(array, size) for name, array in arrays.items()}
    if len(specs) == 1:
        return list(steps[specs[0].name])
    return [dict(zip(steps, parts, strict=True)) for parts in zip(*steps.values(), strict=True)]


def _steps(array: Array, size: int) -> Array:
    count = len(array) // size
    return array if size == 1 else array[: count * size].reshape(count, size, *array.shape[1:])


def _check(spec: TensorSpec, array: Any, named: bool, finite: bool) -> None:
    try:
        check_frames(spec, array, finite)
    except FrameError as error:
        raise (type(error)(f"input `{spec.name}`: {error}") if named else error) from None
