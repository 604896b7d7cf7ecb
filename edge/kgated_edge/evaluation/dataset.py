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
        y: (N,) labels, (N, T, ...) targets, or None.
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
    path: str | Path, names: Sequence[str] = (), single: Sequence[str] = ()
) -> SequenceData:
    """Reads and validates sequences.

    Args:
        path: a file with `x`, and optionally `lengths` (N,), all T where absent, and `y`.
        names: with several inputs their names, which replace `x`.
        single: those of them with one value per sequence: (N, ...) float32 or int32.

    Raises:
        DataError: one line with the file, what is wrong in it, and what to do.
    """
    try:
        return from_arrays(_read(Path(path), tuple(names) or ("x",)), names, single)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def from_arrays(
    arrays: Mapping[str, Array], names: Sequence[str] = (), single: Sequence[str] = ()
) -> SequenceData:
    """Validates sequences.

    Args:
        arrays: `x`, and optionally `lengths` and `y`, as `load_npz` reads them from a file.
        names: as for `load_npz`.
        single: as for `load_npz`.

    Raises:
        DataError: what is wrong in them, and what to do.
    """
    inputs = tuple(names) or ("x",)
    for name in inputs:
        if not isinstance(arrays.get(name), np.ndarray):
            got = f"a {type(arrays[name]).__name__}" if name in arrays else f"only {[*arrays]}"
            raise DataError(f"there must be an array `{name}`, got {got}: pass np.asarray({name})")
    timed = [name for name in inputs if name not in single]
    xs = {name: _frames(arrays[name], name) for name in timed}
    x = xs[timed[0]]
    lengths = _lengths(arrays.get("lengths"), x)
    for name, array in xs.items():
        _check_same_size(name, array, x)
        _check_finite(name, array, lengths)
    xs |= {name: _values(arrays[name], name, x) for name in inputs if name in single}
    y = _targets(arrays.get("y"), x)
    return SequenceData(x, lengths, y, xs if names else None, tuple(single))


def _read(path: Path, inputs: Sequence[str]) -> dict[str, Array]:
    try:
        # np.load given a path leaves the file open when the archive in it is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError("this is a single array: save it with np.savez(path, x=x)")
            return {name: _member(archive, name) for name in _names(archive, inputs)}
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


def _names(archive: Any, inputs: Sequence[str]) -> list[str]:
    for name in inputs:
        if name not in archive.files:
            names = ", ".join(archive.files) or "nothing"
            hint = ", ".join(f"{key}={key}" for key in inputs)
            raise DataError(
                f"there is no array `{name}`, only {names}: save it with np.savez(path, {hint})"
            )
    return [name for name in (*inputs, "lengths", "y") if name in archive.files]


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


def _frames(x: Array, name: str) -> Array:
    if x.dtype.kind == "f":
        _require_dtype(x, name, "float32")
    elif x.dtype.kind in "iu":
        _require_dtype(x, name, "int32")
    else:
        raise DataError(f"`{name}` must be float32 or int32, got {x.dtype}: save numbers")
    if (x.ndim != 2) if x.dtype.kind == "i" else (x.ndim < 3):
        raise DataError(
            f"`{name}` must be (N, T, F) float32 frames or (N, T) int32 tokens, "
            f"got shape {x.shape} of {x.dtype}: reshape it"
        )
    if 0 in x.shape:
        raise DataError(
            f"`{name}` must not be empty, got shape {x.shape}: save one sequence or more"
        )
    return x


def _values(array: Array, name: str, x: Array) -> Array:
    """Checks an input (N, ...) with one value per sequence of `x`."""
    _require_dtype(array, name, "float32" if array.dtype.kind == "f" else "int32")
    if array.ndim < 2 or 0 in array.shape or len(array) != len(x):
        raise DataError(
            f"`{name}` must be ({len(x)}, ...), a value for each sequence, got shape "
            f"{array.shape}: save one per sequence"
        )
    if not np.isfinite(array).all():
        raise DataError(f"`{name}` holds NaN or inf: leave such sequences out")
    return array


def _require_dtype(x: Array, name: str, dtype: str) -> None:
    if x.dtype != dtype:
        raise DataError(f"`{name}` must be {dtype}, got {x.dtype}: save {name}.astype('{dtype}')")


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
    if y.dtype.kind not in "biuf":
        raise DataError(f"`y` must hold numbers, got {y.dtype}: save class numbers")
    if y.shape[:1] != x.shape[:1] or y.shape[1:2] not in ((), x.shape[1:2]):
        raise DataError(
            f"`y` must be (N,) labels or (N, T, ...) targets with N, T = {x.shape[:2]}, "
            f"got shape {y.shape}: save one per sequence"
        )
    return y


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 80 else text[:77] + "..."
