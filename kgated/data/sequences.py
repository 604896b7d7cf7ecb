"""Sequences as arrays: padding, selection, splitting by class."""

from dataclasses import replace

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.file_array import FileArray

from kgated.data.splitting import assign_groups


def pad(sequences: list[np.ndarray], y: np.ndarray | None = None) -> SequenceData:
    """Pad sequences with zeros to the length of the longest one.

    Args:
        sequences: arrays (t, F), or tokens (t,), of one dtype; t may differ.
        y: labels or targets, (N,) or (N, ...); None: none.

    Returns:
        The data with x (N, T, F), T the largest t, and lengths (N,).
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    x = np.zeros((len(sequences), lengths.max(), *sequences[0].shape[1:]), sequences[0].dtype)
    for row, sequence in zip(x, sequences, strict=True):
        row[: len(sequence)] = sequence
    return SequenceData(x, lengths, y)


def is_real(lengths: np.ndarray, steps: int) -> np.ndarray:
    """The mask of sequences: which frames are real, and which are padding.

    Args:
        lengths: (N,), the number of real frames of each sequence.
        steps: T, the number of frames with padding.

    Returns:
        (N, T) boolean: True for a real frame, False for padding.
    """
    return np.arange(steps) < lengths[:, None]


def real_frames(data: SequenceData) -> np.ndarray:
    """All frames without the padding.

    Args:
        data: sequences with x (N, T, F), or tokens (N, T).

    Returns:
        (sum of the lengths, F), or tokens (sum of the lengths,), in the order of the sequences.
    """
    if isinstance(data.x, FileArray):
        return np.concatenate([data.sequence(n) for n in range(len(data))])
    return data.x[is_real(data.lengths, data.x.shape[1])]


def zero_padded(data: SequenceData) -> np.ndarray:
    """The frames, with zeros as padding.

    Args:
        data: sequences with any values as padding.

    Returns:
        (N, T, F) with zeros as padding, which `keras.layers.Masking` recognizes.
    """
    real = is_real(data.lengths, data.x.shape[1])
    return np.where(real[..., None], data.x, np.zeros((), data.x.dtype))


def take(data: SequenceData, index: np.ndarray) -> SequenceData:
    """Select sequences by their index.

    Args:
        data: N sequences.
        index: (n,) integers, the sequences to select; one may be repeated.

    Returns:
        The selected sequences with their labels and groups, in the order of `index`.
    """
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
    """Set aside a part of each class at random; sequences of a group stay together.

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
        aside = _held_out_mask(data.y, fraction, seed)
    return take(data, np.flatnonzero(~aside)), take(data, np.flatnonzero(aside))


def split_recordings(
    data: SequenceData, fraction: float, *, seed: int = 0
) -> tuple[SequenceData, SequenceData]:
    """Set aside recordings with labels per frame at random; a group stays together.

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
    """The number of classes of labels per frame.

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


def _held_out_mask(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which sequences (N,) are set aside."""
    rng = np.random.default_rng(seed)
    aside = np.zeros(len(y), bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        if len(members) < 2:
            raise ValueError(
                f"class {label} has one sequence alone; splitting takes two or more: add sequences "
                "of it, or give validation data (--validation)"
            )
        aside[members[: np.clip(round(fraction * len(members)), 1, len(members) - 1)]] = True
    return aside


def class_count(y: np.ndarray | None, where: object) -> int:
    """The number of classes of labels.

    Args:
        y: (N,) integers 0..classes-1, each of which occurs.
        where: the file or the argument, for the message.

    Raises:
        ValueError: no labels, no integers, or numbers with gaps; one line with the remedy.
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
            f"gaps. Received: {some}; renumber them by `names, y = np.unique(y, "
            "return_inverse=True)`, where `names` has the old numbers"
        )
    return len(labels)
