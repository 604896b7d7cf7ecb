"""Converts sequences in any of the accepted forms to `SequenceData`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData, from_arrays, load_npz
from kgated_edge.evaluation.dataset_info import info_arrays
from kgated_edge.evaluation.file_array import FileArray
from kgated_edge.format.tensor_spec import Array

Data: TypeAlias = str | Path | SequenceData | Mapping[str, Any] | Sequence[Any] | Array
"""The forms of sequences that `as_sequences` takes."""


def as_sequences(
    data: Data, names: Sequence[str] = (), single: Sequence[str] = (), *, targets: bool = True
) -> SequenceData:
    """Reads and validates sequences.

    Numbers of any float or integer type, in any memory layout, become float32 frames, and (N, T)
    integers int32 tokens. Sequences of different lengths may be a list, or an array of objects:
    they are padded with zeros.

    Args:
        data: the path of an `.npz` or `.npy` file; `SequenceData`; an array (N, T, ...), or a list
            of N arrays (t, ...); or such an array or list by name: `x`, or each of `names`, and
            optionally `lengths` (N,) and `y`.
        names: the model's inputs where it has several.
        single: those of them with one value for a sequence: (N, ...).
        targets: whether `y` is read; where not, nothing in it is wrong.

    Raises:
        DataError: what is wrong in them, and what to do.
    """
    if isinstance(data, str | Path):
        return load_npz(data, names, single, targets=targets)
    arrays = {**arrays_by_name(data), **description_arrays(data)}
    inputs, lengths = tuple(names) or ("x",), arrays.get("lengths")
    for name in inputs:
        if name in arrays and name not in single:
            arrays[name], counts = _as_array(arrays[name], name)
            lengths = _same_lengths(name, lengths, counts)
        elif name in arrays:
            arrays[name] = _numbers(arrays[name], f"`{name}`")
    if lengths is not None:
        arrays["lengths"] = _numbers(lengths, "`lengths`")
    if targets and arrays.get("y") is not None:
        arrays["y"] = _numbers(arrays["y"], "`y`")
    else:
        arrays.pop("y", None)
    return from_arrays(arrays, names, single, targets=targets)


def plain_arrays(data: Data) -> dict[str, Array]:
    """The arrays of sequences that are in memory, for an `.npz` file that `as_sequences` takes.

    Args:
        data: as for `as_sequences`, but no path.

    Returns:
        Arrays by name; without `y`.

    Raises:
        DataError: as from `as_sequences`.
    """
    arrays = {name: values for name, values in arrays_by_name(data).items() if name != "y"}
    lengths = arrays.pop("lengths", None)
    for name in arrays:
        arrays[name], counts = _as_array(arrays[name], name)
        if counts is not None and len(set(counts)) > 1:
            lengths = counts
    return arrays if lengths is None else {**arrays, "lengths": _numbers(lengths, "`lengths`")}


def arrays_by_name(data: Any) -> Mapping[str, Any]:
    """Sequences in any form that is in memory as arrays or lists by name."""
    if isinstance(data, SequenceData):
        arrays = {**(data.inputs or {"x": data.x}), "lengths": data.lengths}
        return arrays if data.y is None else {**arrays, "y": data.y}
    return data if isinstance(data, Mapping) else {"x": data}


def description_arrays(data: Any) -> dict[str, Array]:
    """The description in `SequenceData` as arrays of an `.npz` file; empty for other data."""
    if not isinstance(data, SequenceData):
        return {}
    arrays = info_arrays(data.info)
    return arrays if data.groups is None else {**arrays, "groups": data.groups}


def _as_array(values: Any, name: str) -> tuple[Array, npt.NDArray[np.int64] | None]:
    """One array of all sequences, and their lengths where these are known from a list."""
    is_objects = isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1
    if not isinstance(values, list | tuple) and not is_objects:
        return _numbers(values, f"`{name}`"), None
    rows = [_numbers(row, f"`{name}`, sequence {n},") for n, row in enumerate(values)]
    if not rows:
        raise DataError(f"`{name}` must not be empty: give one sequence or more")
    for n, row in enumerate(rows):
        if row.ndim == 0 or row.shape[1:] != rows[0].shape[1:] or not len(row):
            raise DataError(
                f"`{name}` must be a list of sequences (t, ...) with the same features in each, "
                f"got shape {rows[0].shape} in sequence 0 and {row.shape} in sequence {n}: give "
                "one array (t, features), or (t,) of tokens, for each"
            )
        if row.dtype.kind not in "iuf":
            raise DataError(
                f"`{name}`, sequence {n}, must hold numbers, got {row.dtype}: encode them"
            )
    lengths = np.array([len(row) for row in rows], np.int64)
    x = np.zeros((len(rows), lengths.max(), *rows[0].shape[1:]), np.result_type(*rows))
    for row, padded in zip(rows, x, strict=True):
        padded[: len(row)] = row
    return x, lengths


def _numbers(values: Any, where: str) -> Array:
    """The values of a caller as an array; their numbers are not checked."""
    if isinstance(values, np.ndarray | FileArray):
        return cast(Array, values)  # np.asarray would read the whole file
    is_array = isinstance(values, list | tuple) or hasattr(values, "__array__")
    if not is_array:
        raise DataError(
            f"{where} must be an array, got a {type(values).__name__}: pass np.asarray of numbers"
        )
    try:
        return np.asarray(values)
    # Lists of unequal rows, and what __array__ of other libraries raises.
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        raise DataError(
            f"{where} cannot become one array ({reason}): give rows of equal size"
        ) from None


def _same_lengths(name: str, known: Any, counts: npt.NDArray[np.int64] | None) -> Any:
    if known is not None and counts is not None and not np.array_equal(known, counts):
        raise DataError(
            f"the sequences of `{name}` have other lengths than `lengths` or another input: leave "
            "`lengths` out, and give as many frames for each input"
        )
    return known if counts is None else counts
