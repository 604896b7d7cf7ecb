"""The data contract: an `.npz` file of padded sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError
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
    """

    x: Array
    lengths: npt.NDArray[np.int64]
    y: Array | None = None
    inputs: Mapping[str, Array] | None = None
    single: Sequence[str] = ()

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
        arrays = _read(Path(path), tuple(names) or ("x",), targets)
        return from_arrays(arrays, names, single, targets=targets)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def check_npz(path: str | Path, *, targets: bool = True) -> SequenceData | None:
    """Reads and validates as much as can be without the names of the model's inputs.

    Args:
        path: as for `load_npz`.
        targets: as for `load_npz`.

    Returns:
        The sequences, or None where the arrays are those of a model with several inputs.

    Raises:
        DataError: as from `load_npz`.
    """
    try:
        arrays = _read(Path(path), None, targets)
        inputs = arrays.keys() - {"lengths", "y"}
        if not inputs:
            raise DataError(_nothing_there("x", ("x",), arrays))
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
        if not isinstance(arrays.get(name), np.ndarray):
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
    return SequenceData(x, lengths, y, xs if names else None, tuple(single))


def _read(path: Path, inputs: Sequence[str] | None, targets: bool) -> dict[str, Array]:
    """The arrays of a file: the inputs', or where these are not known all, `lengths` and `y`."""
    try:
        # np.load given a path leaves the file open when the archive in it is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                return _lone(archive, inputs)
            names = _names(archive, archive.files if inputs is None else inputs, targets)
            return {name: _member(archive, name) for name in names}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("no such file: check the path") from None
    except IsADirectoryError:
        raise DataError("this is a directory: name the .npz file in it") from None
    # NumPy and zipfile raise a dozen kinds of exception on damaged bytes.
    except Exception as error:
        raise DataError(
            f"this is not an intact .npz file ({_reason(error)}): copy it again, "
            "or save it with np.savez(path, x=x)"
        ) from None


def _lone(array: Array, inputs: Sequence[str] | None) -> dict[str, Array]:
    """The array of an `.npy` file, for a model with one input."""
    if inputs is not None and len(inputs) > 1:
        arrays = ", ".join(f"{name}={name}" for name in inputs)
        raise DataError(f"this is a single array: save all with np.savez(path, {arrays})")
    return {"x" if inputs is None else inputs[0]: array}


def _names(archive: Any, inputs: Sequence[str], targets: bool) -> list[str]:
    for name in inputs or ("x",):
        if name not in archive.files:
            raise DataError(_nothing_there(name, inputs or ("x",), archive.files))
    names = dict.fromkeys((*inputs, "lengths", *(["y"] if targets else [])))
    return [name for name in names if name in archive.files and (targets or name != "y")]


def _nothing_there(name: str, inputs: Sequence[str], arrays: Any) -> str:
    present = ", ".join(arrays) or "nothing"
    hint = ", ".join(f"{array}={array}" for array in inputs)
    return f"there is no array `{name}`, only {present}: save it with np.savez(path, {hint})"


def _member(archive: Any, name: str) -> Array:
    try:
        array = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataError(
            f"`{name}` holds pickled objects, which are not loaded: save plain numbers"
        ) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"`{name}` is not an array: save it with np.savez(path, {name}={name})")
    return array


def _check_dtypes(arrays: Mapping[str, Array]) -> None:
    """Refuses arrays of no numbers, all of them at once."""
    problems = []
    for name, array in arrays.items():
        if name == "lengths":
            continue  # with its shape, below
        if name == "y" and array.dtype.kind not in "biuf":
            problems.append(f"`y` must hold numbers, got {array.dtype}: save class numbers")
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
    real = np.arange(x.shape[1]) < lengths[:, None]
    bad = real & ~np.isfinite(x).reshape(*x.shape[:2], -1).all(axis=-1)
    if bad.any():
        sequence, frame = np.argwhere(bad)[0]
        raise DataError(
            f"`{name}` holds NaN or inf in sequence {sequence}, frame {frame}: "
            "drop the frame or repeat the last good one"
        )


def _targets(y: Array | None, x: Array) -> Array | None:
    if y is None:
        return None
    if y.shape[:1] != x.shape[:1] or 0 in y.shape:
        raise DataError(
            f"`y` must be (N,) labels, (N, ...) or (N, T, ...) targets with N, T = {x.shape[:2]}, "
            f"got shape {y.shape}: save one per sequence"
        )
    return y


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 80 else text[:77] + "..."
