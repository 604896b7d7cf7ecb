"""Metrics of multi-label outputs: each output decides about one label."""

import numpy as np
import numpy.typing as npt

from kgated_edge.evaluation.metrics import Quality, Scorer, TargetRows
from kgated_edge.format.tensor_spec import Array

Flags = npt.NDArray[np.bool_]


class MultiLabel(Scorer):
    """Several labels at once: a label is predicted where its output is above the threshold.

    The threshold is 0.5, and 0 where the outputs leave 0..1 and so must be logits.

    Args:
        targets: (N, labels) of each sequence, compared with its last result; or (N, T, labels) of
            each frame, padded; 1 where the label applies, else 0.
        size: frames per step; the target of a step is that of its last frame. None: one target per
            sequence.
    """

    metrics = ("f1_micro", "f1_macro", "subset_accuracy")

    def __init__(self, targets: Array, size: int | None) -> None:
        self._rows = TargetRows(targets != 0, size)

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        self._rows.add(n, results)

    def quality(self) -> Quality:
        """See `Scorer`."""
        targets, results = self._rows.stacked()
        predicted = results > (0.5 if are_unit(results) else 0.0)
        hits = (targets & predicted).sum(0)
        marks = targets.sum(0) + predicted.sum(0)
        return Quality(
            task="multi-label",
            f1_micro=float(_f1(hits.sum(), marks.sum())),
            f1_macro=float(_f1(hits, marks).mean()),
            subset_accuracy=float((targets == predicted).all(-1).mean()),
        )


def are_unit(results: Array) -> bool:
    """Whether all values are in 0..1, as those of a sigmoid."""
    return bool(results.size and results.min() >= 0 and results.max() <= 1)


def _f1(hits: Array, marks: Array) -> Array:
    """2 * true positives / (positives + predicted positives); 0 where there are none."""
    return np.asarray(2 * hits / np.maximum(marks, 1))
