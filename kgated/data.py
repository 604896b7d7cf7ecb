"""Data sets of sequences: the `.npz` contract's writing half, and one of real speech."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from kgated_edge.evaluation.dataset import SequenceData, load_npz

from kgated.atomic_write import replace_file
from kgated.optional_imports import from_demo

__all__ = [
    "DataSet",
    "SequenceData",
    "class_count",
    "is_real",
    "japanese_vowels",
    "load_npz",
    "pad",
    "real_frames",
    "save_npz",
    "split",
    "take",
    "zero_padded",
]

SPEAKERS = 9
# Windows of 25.6 ms, one every 6.4 ms (the data set's own description in the UCI archive).
SAMPLE_PERIOD_S = 0.0064


@dataclass(frozen=True, eq=False)
class DataSet:
    """Sequences to train on and sequences to judge by.

    Attributes:
        name: what it is called.
        train: the sequences to learn from.
        test: sequences that nothing may be chosen by.
        labels: the name of each class.
        sample_period_s: seconds from one frame to the next.
    """

    name: str
    train: SequenceData
    test: SequenceData
    labels: tuple[str, ...]
    sample_period_s: float


def japanese_vowels() -> DataSet:
    """JapaneseVowels: nine men say the vowels /ae/; who was it? (Kudo, Toyama & Shimbo 1999).

    270 utterances to train on and 370 to test, of 7 to 29 frames with 12 cepstrum coefficients
    each, y in 0..8. Read from the copy that comes with the package sktime, without a network.

    Raises:
        ImportError: sktime is not installed.
    """
    load = from_demo("sktime.datasets").load_japanese_vowels
    train, test = (
        _from_tables(*load(split=part, return_type="df-list")) for part in ("TRAIN", "TEST")
    )
    labels = tuple(f"speaker {n + 1}" for n in range(SPEAKERS))
    return DataSet("JapaneseVowels", train, test, labels, SAMPLE_PERIOD_S)


def _from_tables(tables: list[Any], y: npt.NDArray[Any]) -> SequenceData:
    """Tables of (frames, features) and labels "1".."9" as the contract has them."""
    sequences = [table.to_numpy(dtype=np.float32) for table in tables]
    return pad(sequences, y.astype(np.int64) - 1)


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
    return data.x[is_real(data.lengths, data.x.shape[1])]


def zero_padded(data: SequenceData) -> np.ndarray:
    """The frames (N, T, F) with zeros as padding, as `keras.layers.Masking` knows it."""
    real = is_real(data.lengths, data.x.shape[1])
    return np.where(real[..., None], data.x, np.zeros((), data.x.dtype))


def take(data: SequenceData, index: np.ndarray) -> SequenceData:
    """The sequences of `index` (n,), in its order."""
    return SequenceData(
        data.x[index], data.lengths[index], None if data.y is None else data.y[index]
    )


def split(
    data: SequenceData, fraction: float, *, seed: int = 0
) -> tuple[SequenceData, SequenceData]:
    """Set a part of each class aside, at random.

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
    rng = np.random.default_rng(seed)
    aside = np.zeros(len(data), bool)
    for label in np.unique(data.y):
        members = rng.permutation(np.flatnonzero(data.y == label))
        if len(members) < 2:
            raise ValueError(f"class {label} has one sequence alone; splitting takes two or more")
        aside[members[: np.clip(round(fraction * len(members)), 1, len(members) - 1)]] = True
    return take(data, np.flatnonzero(~aside)), take(data, np.flatnonzero(aside))


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


def save_npz(path: str | Path, data: SequenceData) -> None:
    """Write sequences as `load_npz` and `kgated-edge check` read them, whole or not at all.

    Raises:
        OSError: the file can't be written; what stood at `path` is untouched.
    """
    arrays = {"x": data.x, "lengths": data.lengths.astype(np.int32)}
    if data.y is not None:
        arrays["y"] = data.y
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    replace_file(path, content.getvalue())
