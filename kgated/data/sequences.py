"""Sequences as arrays: padding, selection, splitting by class."""

from dataclasses import replace

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.file_array import FileArray

from kgated.data.splitting import assign_groups


def pad(sequences: list[np.ndarray], y: np.ndarray | None = None) -> SequenceData:
    """Sequences of (t, F) float32, each of its own length, padded with zeros to the longest."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    x = np.zeros((len(sequences), lengths.max(), *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return SequenceData(x, lengths, y)


def is_real(lengths: np.ndarray, steps: int) -> np.ndarray:
    """Which of `steps` frames are no padding, (N, steps) boolean."""
    return np.arange(steps) < lengths[:, None]


def real_frames(data: SequenceData) -> np.ndarray:
    """Every frame that is not padding, (frames, F)."""
    if isinstance(data.x, FileArray):
        return np.concatenate([data.sequence(n) for n in range(len(data))])
    return data.x[is_real(data.lengths, data.x.shape[1])]


def zero_padded(data: SequenceData) -> np.ndarray:
    """The frames (N, T, F) with zeros as padding, as `keras.layers.Masking` knows it."""
    real = is_real(data.lengths, data.x.shape[1])
    return np.where(real[..., None], data.x, np.zeros((), data.x.dtype))


def take(data: SequenceData, index: np.ndarray) -> SequenceData:
    """The sequences of `index` (n,), in its order."""
    groups = None if data.groups is None else data.groups[index]
    return replace(
        data,
        x=data.x.rows(index) if isinstance(data.x, FileArray) else data.x[index],
        lengths=data.lengths[index],
        y=None if data.y is None else data.y[index],
        groups=groups,
    )


def split(
    data: SequenceData, fraction: float, *, seed: int = 0
) -> tuple[SequenceData, SequenceData]:
    """Set a part of each class aside, at random; no group of the data stands on both sides.

    Args:
        data: sequences with labels y (N,).
        fraction: the share of each class to set aside, above 0 and below 1; rounded, and at least
            one sequence stays on either side.
        seed: the same seed gives the same parts.

    Returns:
        What stays, and what is set aside, each in the order of `data`.

    Raises:
        ValueError: no labels, a class with fewer than two sequences, a fraction out of range.
    """
    if data.y is None or data.y.ndim != 1:
        raise ValueError("`data` must have one label per sequence in `y` to be split by class")
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"`fraction` must be above 0 and below 1. Received: {fraction}")
    if data.groups is not None and len(np.unique(data.groups)) < len(data):
        parts = assign_groups(data.groups.tolist(), data.y, {"aside": fraction}, seed)
        aside = parts == "aside"
    else:
        aside = _aside(data.y, fraction, seed)
    return take(data, np.flatnonzero(~aside)), take(data, np.flatnonzero(aside))


def split_recordings(
    data: SequenceData, fraction: float, *, seed: int = 0
) -> tuple[SequenceData, SequenceData]:
    """Set recordings with labels per frame aside, at random; no group stands on both sides.

    Args:
        data: recordings with labels y (N, T).
        fraction: the share of each class's frames to set aside.
        seed: the same seed gives the same parts.

    Returns:
        What stays, and what is set aside, each in the order of `data`.

    Raises:
        ValueError: fewer than two recordings, or a class that nothing is left of.
    """
    assert data.y is not None
    groups = list(map(str, range(len(data))) if data.groups is None else data.groups.tolist())
    counts = [
        np.unique(y[:length], return_counts=True)
        for y, length in zip(data.y, data.lengths, strict=True)
    ]
    rows = np.repeat(np.arange(len(data)), [len(labels) for labels, _ in counts])
    labels, weights = (np.concatenate(parts) for parts in zip(*counts, strict=True))
    items = [groups[row] for row in rows]
    parts = assign_groups(items, labels, {"aside": fraction}, seed, weights)
    aside = np.zeros(len(data), bool)
    aside[rows[parts == "aside"]] = True
    return take(data, np.flatnonzero(~aside)), take(data, np.flatnonzero(aside))


def frame_class_count(data: SequenceData, where: object) -> int:
    """How many classes labels per frame tell apart.

    Args:
        data: recordings with labels y (N, T) in 0..classes-1, each of which occurs.
        where: the file, for the message.

    Raises:
        ValueError: no labels, no label per frame, or numbers with gaps.
    """
    y = data.y
    if y is None or y.ndim != 2 or y.dtype.kind not in "iu":
        received = "none" if y is None else f"shape {y.shape} of {y.dtype}"
        raise ValueError(
            f"{where}: --streaming needs labels `y` (N, T), an integer per frame. Received: "
            f"{received}; make them by `kgated data` with a --label-table of start and end, or "
            "with --label-column"
        )
    return class_count(y[is_real(data.lengths, y.shape[1])], where)


def _aside(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which sequences (N,) are set aside."""
    rng = np.random.default_rng(seed)
    aside = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        if len(members) < 2:
            raise ValueError(f"class {label} has one sequence alone; splitting takes two or more")
        aside[members[: np.clip(round(fraction * len(members)), 1, len(members) - 1)]] = True
    return aside


def class_count(y: np.ndarray | None, where: object) -> int:
    """How many classes labels tell apart.

    Args:
        y: (N,) integers 0..classes-1, each of which occurs.
        where: the file or the argument, for the message.

    Raises:
        ValueError: no labels, no integers, or numbers with gaps; one line with the way out.
    """
    if y is None:
        raise ValueError(f"{where}: there are no labels `y` to learn: save one per sequence")
    if y.ndim == 2 and y.dtype.kind in "iu":
        raise ValueError(
            f"{where}: `y` must be one integer per sequence, and has a label per frame: train with "
            "--streaming, or make one label per window by `kgated data csv --window 2.0 "
            "--window-label majority`"
        )
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(
            f"{where}: `y` must be one integer per sequence, the number of its class. Received: "
            f"shape {y.shape} of {y.dtype}"
        )
    labels = np.unique(y)
    if not np.array_equal(labels, np.arange(len(labels))):
        some = ", ".join(map(str, labels[:6])) + (", ..." if len(labels) > 6 else "")
        raise ValueError(
            f"{where}: the labels must be 0..{len(labels) - 1} for {len(labels)} classes, without "
            f"gaps. Received: {some}; number them anew by `names, y = np.unique(y, "
            "return_inverse=True)`, where `names` tells which class was which"
        )
    return len(labels)
