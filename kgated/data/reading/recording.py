"""One recording of a folder: its frames, its labels, its period."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kgated.optional_imports import from_extra


@dataclass(frozen=True, eq=False)
class Recording:
    """The frames of a file.

    Attributes:
        path: the file.
        x: (T, F) float32.
        frame_labels: a label per frame, (T,) of str; None where the file has none.
        period_s: seconds from one frame to the next; None where unknown.
        names: of the features; None where unknown.
        first_s: the time of the centre of the first frame.
        duration_s: of the recording; None where unknown.
    """

    path: Path
    x: np.ndarray
    frame_labels: np.ndarray | None
    period_s: float | None
    names: tuple[str, ...] | None
    first_s: float = 0.0
    duration_s: float | None = None


def files_in(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """All files below a folder with one of the suffixes, sorted by path.

    Raises:
        ValueError: no folder, or no such files in it.
    """
    if not folder.is_dir():
        is_file = folder.exists()
        reason = (
            "this is a file: name its folder"
            if is_file
            else "there is no such folder: check the path"
        )
        raise ValueError(f"{folder}: {reason}")
    known = tuple(suffixes)
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in known)
    files = sorted(path for path in paths if path.is_file() and not path.name.startswith("."))
    if not files:
        raise ValueError(f"{folder}: there are no files {' or '.join(known)} in it: check the path")
    return files


def resampled(x: np.ndarray, rate: float, new_rate: float) -> np.ndarray:
    """Frames (T, F) or samples (T,) float64 at another rate, by soxr.

    Raises:
        ImportError: the package soxr is missing; the message says what to install.
    """
    if rate == new_rate:
        return x
    soxr = from_extra("soxr", "data")
    return np.asarray(soxr.resample(np.ascontiguousarray(x), rate, new_rate))
