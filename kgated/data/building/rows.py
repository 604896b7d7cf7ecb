"""The sequences of a data set as rows: where their frames are, and what their labels are."""

from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Row:
    """One sequence: where its frames are, its label or (t,) labels, its group."""

    recording: int
    start: int
    stop: int
    label: str | np.ndarray | None
    group: str


def targets_of(rows: list[Row], lengths: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Class numbers (N,), or (N, T) where labels are per frame."""
    numbers = {name: n for n, name in enumerate(names)}
    if not isinstance(rows[0].label, np.ndarray):
        return np.array([numbers[str(row.label)] for row in rows])
    y = np.zeros((len(rows), int(lengths.max())), np.int32)
    for target, row in zip(y, rows, strict=True):
        assert isinstance(row.label, np.ndarray)
        target[: len(row.label)] = [numbers[label] for label in row.label.tolist()]
    return y


def counts_of(rows: list[Row]) -> dict[str, int]:
    """How many sequences, or frames with labels per frame, of each class."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row.label is not None:
            counts.update(labels_of(row))
    return dict(sorted(counts.items()))


def labels_of(row: Row) -> list[str]:
    """The labels of a sequence: one, or one per frame."""
    return row.label.tolist() if isinstance(row.label, np.ndarray) else [row.label or ""]
