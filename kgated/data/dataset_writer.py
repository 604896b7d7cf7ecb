"""Writes data sets as `.npz` files, or as `.npz` with an `.npy` beside it, whole or not at all."""

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.dataset_info import info_arrays

from kgated.atomic_write import check_writable, replace_file

Rows = Callable[[], Iterator[np.ndarray]]
"""Makes the sequences (t, F) float32 of a data set, one after another."""


def save_npz(path: str | Path, data: SequenceData) -> None:
    """Write sequences to an `.npz` file for `load_npz` and `kgated-edge check`; atomically.

    Args:
        path: the `.npz` file to write.
        data: sequences, with their labels, groups and description.

    Raises:
        OSError: the file can't be written; what stood at `path` is untouched.
    """
    arrays: dict[str, Any] = {"x": data.x, "lengths": data.lengths.astype(np.int32)}
    if data.y is not None:
        arrays["y"] = data.y
    if data.groups is not None:
        arrays["groups"] = data.groups
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays, **info_arrays(data.info))
    replace_file(path, content.getvalue())


@contextmanager
def staging(outputs: list[Path]) -> Iterator[Path]:
    """A folder to write files in that take the places of `outputs` at the end, all or none.

    Raises:
        OSError: an output can't be written.
    """
    for path in outputs:
        check_writable(path)
    folder = Path(tempfile.mkdtemp(prefix=".kgated-data-", dir=outputs[0].parent))
    try:
        yield folder
        for path in outputs:
            if (folder / path.name).is_file():
                os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_dataset(
    path: Path, rows: Rows, lengths: np.ndarray, arrays: Mapping[str, np.ndarray], is_mapped: bool
) -> None:
    """Write one data set, the padding zeros.

    Args:
        path: of the `.npz` file, in a staging folder.
        rows: the sequences, of those lengths.
        lengths: (N,).
        arrays: what else is in the file.
        is_mapped: whether the frames go into an `.npy` file beside it, row by row.
    """
    first = next(rows())
    shape = (len(lengths), int(lengths.max()), *first.shape[1:])
    named = {"lengths": lengths.astype(np.int32), **arrays}
    if is_mapped:
        _write_rows(path.with_suffix(".npy"), rows, shape)
        np.savez_compressed(path, allow_pickle=False, **named)
        return
    x = np.zeros(shape, np.float32)
    for target, row in zip(x, rows(), strict=True):
        target[: len(row)] = row
    np.savez_compressed(path, allow_pickle=False, x=x, **named)


def _write_rows(path: Path, rows: Rows, shape: tuple[int, ...]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        padded = np.zeros(shape[1:], np.float32)
        for row in rows():
            padded[: len(row)], padded[len(row) :] = row, 0.0
            file.write(padded.data)
