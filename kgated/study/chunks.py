"""Long recordings with a result for each frame: cut into chunks, and split in time."""

from dataclasses import replace
from typing import Any

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import pad, take
from kgated.study.tasks.definitions import Task

# Below this number of recordings each is split in time, so that all parts have some of each.
MIN_GROUPS = 5
# Frames of a chunk: how far the gradient reaches back, and where the state starts from zeros.
MAX_FRAMES = 128
MIN_CHUNKS = 10


def group_count(data: SequenceData) -> int:
    """The number of groups, or of sequences where there are no groups."""
    return len(data) if data.groups is None else len(np.unique(data.groups))


def in_chunks(task: Task, data: SequenceData, frames: int = MAX_FRAMES) -> SequenceData:
    """Cut each recording into chunks of at most `frames` frames; its chunks are one group."""
    if data.lengths.max() <= frames:
        return data
    groups = np.arange(len(data)).astype(str) if data.groups is None else data.groups
    spans = [
        (n, begin, min(begin + frames, length))
        for n, length in enumerate(data.lengths.tolist())
        for begin in range(0, length, frames)
    ]
    if task.predicts_next:  # a single token predicts nothing
        spans = [span for span in spans if span[2] - span[1] > 1]
    chunks = pad([np.asarray(data.x[n, begin:end]) for n, begin, end in spans])
    y = None
    if data.y is not None:
        y = pad([data.y[n, begin:end] for n, begin, end in spans]).x
    rows = np.array([n for n, _, _ in spans])
    return replace(data, x=chunks.x, lengths=chunks.lengths, y=y, groups=groups[rows])


def split_in_time(
    task: Task, data: SequenceData, fractions: tuple[float, ...], where: object
) -> list[SequenceData]:
    """Split each recording in time: first training, then validation, then test data.

    Args:
        task: with a result for each frame.
        data: recordings.
        fractions: of the last part, then of the part before it, relative to what is left.
        where: the file, for the message.

    Raises:
        ValueError: the recordings are too short, or the training data lack a class.
    """
    frames = int(max(min(MAX_FRAMES, data.lengths.max() // MIN_CHUNKS), 2))
    recordings = np.arange(len(data)).astype(str)
    chunks = in_chunks(task, replace(data, groups=recordings), frames)
    assert chunks.groups is not None
    starts, chunks = chunks.groups, replace(chunks, groups=None)
    rows, parts = np.arange(len(chunks)), list[SequenceData]()
    for fraction in fractions:
        last = np.concatenate([_last(rows[starts[rows] == n], fraction) for n in recordings])
        parts.insert(0, take(chunks, np.sort(last)))
        rows = np.setdiff1d(rows, last)
    parts.insert(0, take(chunks, rows))
    if not all(map(len, parts)):
        raise ValueError(
            f"{where}: the data can't be split: {len(data)} sequences of at most "
            f"{data.lengths.max()} frames are too few: record more"
        )
    _check_classes(task, data, parts[0], where)
    return parts


def _last(rows: np.ndarray, fraction: float) -> np.ndarray:
    """The last rows of a recording, this fraction of them, at least one if there are several."""
    return rows[len(rows) - max(round(fraction * len(rows)), int(len(rows) > 2)) :]


def _check_classes(task: Task, data: SequenceData, train: SequenceData, where: object) -> None:
    if not task.has_classes:
        return
    known, learned = (
        np.unique(
            np.concatenate([y[:length] for y, length in zip(part.y, part.lengths, strict=True)])
        )
        for part in (data, train)
        if part.y is not None
    )
    missing = np.setdiff1d(known, learned)
    if len(missing):
        raise ValueError(
            f"{where}: the data can't be split in time: class {missing[0]} is only in the last "
            f"frames: give more than {MIN_GROUPS - 1} recordings, or --test"
        )


def concatenated(task: Task, first: SequenceData, second: SequenceData) -> SequenceData:
    """The sequences of two parts of one data set, one part after the other."""
    frames = max(first.x.shape[1], second.x.shape[1])

    def both(name: str) -> Any:
        arrays = [getattr(data, name) for data in (first, second)]
        if arrays[0] is None:
            return None
        if name == "x" or (name == "y" and task.per_frame):
            arrays = [_padded(array, frames) for array in arrays]
        return np.concatenate(arrays)

    return replace(first, x=both("x"), lengths=both("lengths"), y=both("y"), groups=both("groups"))


def _padded(array: np.ndarray, frames: int) -> np.ndarray:
    """An array (N, T, ...) with zeros up to (N, frames, ...)."""
    widths = [(0, 0), (0, frames - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, widths)
