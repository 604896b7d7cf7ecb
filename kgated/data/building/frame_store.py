"""Frames of many recordings: in memory, or in a file of which one recording is in memory."""

from pathlib import Path
from types import TracebackType

import numpy as np


class FrameStore:
    """Recordings (T, F) float32 by number.

    Args:
        path: a file to keep them in, deleted at the end; None: in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path, self._file = path, None if path is None else path.open("w+b")
        self._arrays: list[np.ndarray] = []
        self._offsets: list[tuple[int, tuple[int, ...]]] = []

    def __enter__(self) -> "FrameStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)

    def append(self, x: np.ndarray) -> int:
        """Keep a recording; its number."""
        if self._file is None:
            self._arrays.append(x)
        else:
            self._file.seek(0, 2)
            self._offsets.append((self._file.tell(), x.shape))
            self._file.write(np.ascontiguousarray(x, np.float32).data)
        return max(len(self._arrays), len(self._offsets)) - 1

    def read(self, n: int, start: int, stop: int) -> np.ndarray:
        """Frames start..stop - 1 of a recording."""
        if self._file is None:
            return self._arrays[n][start:stop]
        offset, (_, *frame) = self._offsets[n]
        size = int(np.prod(frame))
        self._file.seek(offset + 4 * size * start)
        content = self._file.read(4 * size * (stop - start))
        return np.frombuffer(content, np.float32).reshape(-1, *frame)
