"""Reads the arrays of an `.npz` file; the error for any other file names its kind."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import DataError, damage
from kgated_edge.evaluation.dataset_info import INFO_KEYS
from kgated_edge.evaluation.file_array import FileArray
from kgated_edge.format.tensor_spec import Array


def read_arrays(path: Path, inputs: Sequence[str] | None, targets: bool) -> dict[str, Array]:
    """The arrays of a file: those of the inputs (all, if these are not known), `lengths`, `y`."""
    try:
        # np.load given a path leaves the file open when the archive in it is damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                return _single_array(archive, inputs)
            beside = _file_beside(path, archive, inputs)
            wanted = [name for name in inputs or () if name not in beside]
            names = _names(archive, archive.files if inputs is None else wanted, targets, beside)
            return beside | {name: _member(archive, name) for name in names}
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("no such file: check the path") from None
    except IsADirectoryError:
        raise DataError(_of_folder(path)) from None
    # NumPy and zipfile raise a dozen kinds of exception on damaged bytes.
    except Exception as error:
        if hint := _of_recording(path):
            raise DataError(hint) from None
        raise DataError(
            f"this is not an intact .npz file ({damage(error)}): copy it again, "
            "or save it with np.savez(path, x=x)"
        ) from None


def info_arrays_of(path: Path) -> dict[str, Array]:
    """The descriptive arrays of an `.npz` file; empty for any other file."""
    if not zipfile.is_zipfile(path):
        return {}
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        return {name: _member(archive, name) for name in INFO_KEYS if name in archive.files}


def _single_array(array: Array, inputs: Sequence[str] | None) -> dict[str, Array]:
    """The array of an `.npy` file, for a model with one input."""
    if inputs is not None and len(inputs) > 1:
        arrays = ", ".join(f"{name}={name}" for name in inputs)
        raise DataError(f"this is a single array: save all with np.savez(path, {arrays})")
    return {"x" if inputs is None else inputs[0]: array}


def _file_beside(path: Path, archive: Any, inputs: Sequence[str] | None) -> dict[str, Any]:
    """`x` in an `.npy` file beside the `.npz` file, which may be larger than the memory."""
    beside = path.with_suffix(".npy")
    if "x" in archive.files or inputs not in (None, ("x",)) or not beside.is_file():
        return {}
    x = FileArray(beside)
    if x.dtype.kind not in "iuf":
        return {"x": x}
    return {"x": FileArray(beside, np.int32 if x.ndim == 2 else np.float32)}


def _of_folder(path: Path) -> str:
    for kind in ("csv", "wav"):
        if next(path.rglob(f"*.{kind}"), None) is not None:
            return (
                f"this is a folder of {kind.upper()} files: make a data set of it by "
                f"`kgated data {kind} {path} OUT.npz`"
            )
    return "this is a directory: name the .npz file in it"


def _of_recording(path: Path) -> str | None:
    """The sentence for a file of one recording; None for any other file."""
    kind = {".wav": "wav", ".flac": "wav"}.get(path.suffix.lower())
    if kind is None and path.suffix.lower() in (".csv", ".tsv", ".txt"):
        kind = "csv"
    if kind is None:
        return None
    return (
        f"this is a single {path.suffix[1:].upper()} file and not a data set (.npz): make one of "
        f"a folder of recordings by `kgated data {kind} {path.parent} OUT.npz`"
    )


def _names(
    archive: Any, inputs: Sequence[str], targets: bool, beside: Mapping[str, Any]
) -> list[str]:
    for name in inputs or (() if beside else ("x",)):
        if name not in archive.files:
            raise DataError(nothing_there(name, inputs or ("x",), archive.files))
    names = dict.fromkeys((*inputs, "lengths", *INFO_KEYS, *(["y"] if targets else [])))
    return [name for name in names if name in archive.files and (targets or name != "y")]


def nothing_there(name: str, inputs: Sequence[str], arrays: Any) -> str:
    """The sentence for an `.npz` file without an array."""
    if "config.json" in arrays:
        return "this is a Keras model, and not data: give an .npz file"
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
