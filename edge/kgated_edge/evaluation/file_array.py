"""An array in an `.npy` file of which only the rows in use are in memory."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError


class FileArray:
    """Rows of an `.npy` file, mapped into memory where they are read and then let go.

    It indexes as an array does: by a number, a slice or an array of numbers along the first axis,
    and by more indices after it. `np.asarray` reads it all.

    Args:
        path: the file.
        dtype: what rows are cast to when they are read; None: as the file has them.

    Raises:
        DataError: no `.npy` file of numbers in C order, or one cut short.
    """

    def __init__(self, path: str | Path, dtype: Any = None) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = {1: np.lib.format.read_array_header_1_0}
                header = read.get(version[0], np.lib.format.read_array_header_2_0)(file)
                self._offset = file.tell()
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: this is not an .npy file ({error}): save it again") from None
        self.shape, is_fortran, self.dtype = header
        if is_fortran or self.dtype.hasobject or not self.shape:
            raise DataError(
                f"{path}: this is not an .npy file of numbers in C order: save it again"
            )
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize  # as stored
        if self.path.stat().st_size < self._offset + self._row * self.shape[0]:
            raise DataError(f"{path}: the file is cut short: copy or make it again")
        self._stored = self.dtype
        self._numbers: npt.NDArray[np.int64] | None = None
        self.dtype = self._stored if dtype is None else np.dtype(dtype)

    def rows(self, numbers: npt.NDArray[np.int64]) -> "FileArray":
        """An array of some of the rows, in that order, which stay in the file."""
        chosen = copy.copy(self)
        chosen._numbers = np.asarray(numbers if self._numbers is None else self._numbers[numbers])
        chosen.shape = (len(chosen._numbers), *self.shape[1:])
        return chosen

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the file's array."""
        return self._row * int(self.shape[0])

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        first, rest = (index[0], index[1:]) if isinstance(index, tuple) else (index, ())
        if isinstance(first, slice):
            start, stop, step = first.indices(len(self))
            if step != 1:
                return self[(np.arange(start, stop, step), *rest)]
            rows = self._rows(start, max(start, stop))
            return np.array(rows[(slice(None), *rest)], self.dtype)
        if np.ndim(first) == 0:
            n = int(first) + (len(self) if first < 0 else 0)
            return np.array(self._rows(n, n + 1)[(0, *rest)], self.dtype)
        numbers = np.asarray(first)
        if numbers.dtype == bool:
            numbers = np.flatnonzero(numbers)
        chosen = [self._rows(int(n), int(n) + 1)[(0, *rest)] for n in numbers]
        if not chosen:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return np.asarray(np.stack(chosen), self.dtype)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _rows(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Rows start..stop - 1, mapped."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"row {start} is out of range for {len(self)} rows")
        if self._numbers is not None:
            rows = [self._mapped(int(n), 1)[0] for n in self._numbers[start:stop]]
            if len(rows) == 1:
                return np.asarray(rows[0][None])
            return np.stack(rows) if rows else self._mapped(0, 0)
        return self._mapped(start, stop - start)

    def _mapped(self, start: int, count: int) -> npt.NDArray[Any]:
        shape = (count, *self.shape[1:])
        if 0 in shape:
            return np.empty(shape, self._stored)
        return np.memmap(self.path, self._stored, "r", self._offset + start * self._row, shape)
