"""The data contract: an `.npz` file of padded sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset_info import (
    INFO_KEYS,
    NO_INFO,
    DataInfo,
    class_numbers,
    read_info,
)
from kgated_edge.evaluation.file_array import FileArray
from kgated_edge.evaluation.npz_file import info_arrays_of, nothing_there, read_arrays
from kgated_edge.format.tensor_spec import Array


@dataclass(frozen=True, eq=False)
class SequenceData:
    """N sequences, padded to T frames each.

    Attributes:
        x: (N, T, F...) float32 frames, or (N, T) int32 tokens; with several inputs, the first.
        lengths: (N,) int64, the frames of each sequence, 1..T; the rest is padding.
        y: (N,) labels, targets (N, ...) of each sequence or (N, T, ...) of each frame, or None.
        inputs: with several inputs an array like `x` for each, by name; else None.
        single: names of inputs with one value (N, ...) per sequence instead of one per frame.
        info: names of classes and features, sample period and front end, where the file has them.
        groups: (N,) texts, the recording or the person of each sequence; None where unknown.
    """

    x: Array
    lengths: npt.NDArray[np.int64]
    y: Array | None = None
    inputs: Mapping[str, Array] | None = None
    single: Sequence[str] = ()
    info: DataInfo = NO_INFO
    groups: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def sequence(self, n: int) -> Any:
        """The real frames of one sequence: an array, or one per input in a dict by name."""
        length = self.lengths[n]
        if self.inputs is None:
            return self.x[n, :length]
        return {
            name: array[n] if name in self.single else array[n, :length]
            for name, array in self.inputs.items()
        }


def load_npz(
    path: str | Path, names: Sequence[str] = (), single: Sequence[str] = (), *, targets: bool = True
) -> SequenceData:
    """Reads and validates sequences.

    Frames of any float or integer type become float32, and (N, T) integers int32 tokens.

    Args:
        path: a file with `x`, and optionally `lengths` (N,), all T where absent, and `y`; or an
            `.npy` file, whose array is `x`.
        names: the model's inputs where it has several: the arrays that stand in place of `x`.
        single: those of them with one value for a sequence: (N, ...) float32 or int32.
        targets: whether `y` is read; where not, nothing in it is wrong.

    Raises:
        DataError: one line with the file, what is wrong in it, and what to do.
    """
    try:
        arrays = read_arrays(Path(path), tuple(names) or ("x",), targets)
        return from_arrays(arrays, names, single, targets=targets)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def npz_info(path: str | Path) -> DataInfo:
    """The description of frames and classes in an `.npz` file; empty for any other file.

    Raises:
        DataError: an entry of another kind.
    """
    return read_info(info_arrays_of(Path(path)))


def check_npz(path: str | Path, *, targets: bool = True) -> SequenceData | None:
    """Reads and validates a file as far as the model's input names are not needed.

    Args:
        path: as for `load_npz`.
        targets: as for `load_npz`.

    Returns:
        The sequences, or None where the arrays are those of a model with several inputs.

    Raises:
        DataError: as from `load_npz`.
    """
    try:
        arrays = read_arrays(Path(path), None, targets)
        inputs = arrays.keys() - {"lengths", "y", *INFO_KEYS}
        if not inputs:
            raise DataError(nothing_there("x", ("x",), arrays))
        if inputs == {"x"}:
            return from_arrays(arrays, targets=targets)
        _check_dtypes(arrays)
        return None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def from_arrays(
    arrays: Mapping[str, Array],
    names: Sequence[str] = (),
    single: Sequence[str] = (),
    *,
    targets: bool = True,
) -> SequenceData:
    """Validates sequences.

    Args:
        arrays: `x`, and optionally `lengths` and `y`, as `load_npz` reads them from a file.
        names: as for `load_npz`.
        single: as for `load_npz`.
        targets: as for `load_npz`.

    Raises:
        DataError: what is wrong in them, and what to do.
    """
    inputs = tuple(names) or ("x",)
    for name in inputs:
        if not isinstance(arrays.get(name), np.ndarray | FileArray):
            got = f"a {type(arrays[name]).__name__}" if name in arrays else f"only {[*arrays]}"
            raise DataError(f"there must be an array `{name}`, got {got}: pass np.asarray({name})")
    others = ("lengths", "y") if targets else ("lengths",)
    _check_dtypes({name: arrays[name] for name in (*inputs, *others) if name in arrays})
    timed = [name for name in inputs if name not in single]
    xs = {name: _frames(arrays[name], name) for name in timed}
    x = xs[timed[0]]
    lengths = _lengths(arrays.get("lengths"), x)
    for name, array in xs.items():
        _check_same_size(name, array, x)
        _check_finite(name, array, lengths)
    xs |= {name: _values(arrays[name], name, x) for name in inputs if name in single}
    y = _targets(arrays.get("y"), x) if targets else None
    info = read_info(arrays)
    if y is not None and y.dtype.kind == "U":
        y, class_names = _class_numbers(y, lengths, info)
        info = replace(info, class_names=class_names)
    groups = _groups(arrays.get("groups"), x)
    return SequenceData(x, lengths, y, xs if names else None, tuple(single), info, groups)


def _check_dtypes(arrays: Mapping[str, Array]) -> None:
    """Refuses all arrays that are not numeric, in one error."""
    problems = []
    for name, array in arrays.items():
        if name == "lengths":
            continue  # with its shape, below
        if name == "y" and array.dtype.kind not in "biufU":
            problems.append(
                f"`y` must hold numbers or texts, got {array.dtype}: save class numbers or names"
            )
        elif name != "y" and array.dtype.kind not in "iuf":
            problems.append(f"`{name}` must be float32 or int32, got {array.dtype}: save numbers")
        elif array.dtype.kind in "iu" and _overflows(array) and name != "y" and array.ndim == 2:
            problems.append(f"`{name}` holds whole numbers beyond int32: save smaller ones")
    if problems:
        raise DataError("; ".join(problems))


def _overflows(array: Array) -> bool:
    limits = np.iinfo(np.int32)
    return bool(array.size and (array.max() > limits.max or array.min() < limits.min))


def _frames(x: Array, name: str) -> Array:
    if x.ndim < 2 or (x.ndim == 2 and x.dtype.kind == "f"):
        raise DataError(
            f"`{name}` must be (N, T, F) float32 frames or (N, T) int32 tokens, "
            f"got shape {x.shape} of {x.dtype}: reshape it"
        )
    if 0 in x.shape:
        raise DataError(
            f"`{name}` must not be empty, got shape {x.shape}: save one sequence or more"
        )
    return _cast(x, np.int32 if x.ndim == 2 else np.float32)


def _cast(x: Array, dtype: Any) -> Array:
    """The same numbers, row after row in memory; a float beyond float32 becomes inf."""
    if isinstance(x, FileArray):
        return x  # casts its rows as they are read
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ascontiguousarray(x, dtype)


def _values(array: Array, name: str, x: Array) -> Array:
    """Checks an input (N, ...) with one value per sequence of `x`."""
    if array.ndim < 2 or 0 in array.shape or len(array) != len(x):
        raise DataError(
            f"`{name}` must be ({len(x)}, ...), a value for each sequence, got shape "
            f"{array.shape}: save one per sequence"
        )
    array = _cast(array, np.float32 if array.dtype.kind == "f" else np.int32)
    if not np.isfinite(array).all():
        raise DataError(f"`{name}` holds NaN or inf: leave such sequences out")
    return array


def _lengths(lengths: Array | None, x: Array) -> npt.NDArray[np.int64]:
    count, frames = x.shape[:2]
    if lengths is None:
        return np.full(count, frames, np.int64)
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu":
        raise DataError(
            f"`lengths` must be ({count},) integers, one per sequence, "
            f"got shape {lengths.shape} of {lengths.dtype}: save the real lengths"
        )
    bad = (lengths < 1) | (lengths > frames)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            f"`lengths` must be in 1..{frames}, the frames in `x`, "
            f"got {lengths[at]} for sequence {at}: save the real lengths"
        )
    return lengths.astype(np.int64)


def _check_same_size(name: str, array: Array, first: Array) -> None:
    if array.shape[:2] != first.shape[:2]:
        raise DataError(
            f"`{name}` must hold N, T = {first.shape[:2]} frames as the first input does, "
            f"got shape {array.shape}: save the inputs of the same sequences"
        )


def _check_finite(name: str, x: Array, lengths: npt.NDArray[np.int64]) -> None:
    """Refuses NaN and inf in (N, T, ...), except in padding."""
    if isinstance(x, FileArray):
        places = ((n, _bad_frames(x[n, :length])) for n, length in enumerate(lengths))
        bad = next(((n, frames[0]) for n, frames in places if len(frames)), None)
    else:
        real = np.arange(x.shape[1]) < lengths[:, None]
        bad_places = np.argwhere(real & ~np.isfinite(x).reshape(*x.shape[:2], -1).all(axis=-1))
        bad = tuple(bad_places[0]) if len(bad_places) else None
    if bad is not None:
        raise DataError(
            f"`{name}` holds NaN or inf in sequence {bad[0]}, frame {bad[1]}: "
            "drop the frame or repeat the last good one"
        )


def _bad_frames(frames: Array) -> npt.NDArray[np.int64]:
    return np.flatnonzero(~np.isfinite(frames).reshape(len(frames), -1).all(axis=-1))


def _class_numbers(
    y: Array, lengths: npt.NDArray[np.int64], info: DataInfo
) -> tuple[Array, tuple[str, ...]]:
    """Labels that are texts as class numbers; padding becomes class 0."""
    real = np.ones(len(y), bool) if y.ndim == 1 else np.arange(y.shape[1]) < lengths[:, None]
    numbers = np.zeros(y.shape, np.int64)
    numbers[real], names = class_numbers(y[real], info.class_names)
    return numbers, names


def _groups(groups: Array | None, x: Array) -> Array | None:
    if groups is not None and (groups.shape != x.shape[:1] or groups.dtype.kind != "U"):
        raise DataError(
            f"`groups` must be ({len(x)},) strings, one per sequence, got shape {groups.shape} of "
            f"{groups.dtype}: save the name of each recording"
        )
    return groups


def _targets(y: Array | None, x: Array) -> Array | None:
    if y is None:
        return None
    if y.shape[:1] != x.shape[:1] or 0 in y.shape:
        raise DataError(
            f"`y` must be (N,) labels, (N, ...) or (N, T, ...) targets with N, T = {x.shape[:2]}, "
            f"got shape {y.shape}: save one per sequence"
        )
    return y
