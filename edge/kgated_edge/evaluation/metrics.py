"""Metrics of a model's outputs: classification per sequence or frame, regression, next tokens.

Each scorer takes the results of one sequence at a time and keeps only what it needs of them. The
scorer of several labels at once is in `multilabel`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kgated_edge.format.tensor_spec import Array
from kgated_edge.text.sampling import are_probabilities

Labels = npt.NDArray[np.int64]
_MIN_PROBABILITY = 1e-12  # replaces a probability of zero, as int8 outputs have


@dataclass(frozen=True)
class Quality:
    """Metrics of a run over a data set; None for those that the task does not have.

    Attributes:
        task: "classification", "frame-classification", "multi-label", "regression" or "next-token".
        accuracy: fraction of correct decisions: at the last step of each sequence, or at every step
            where there is a label per frame. The decision is the largest output.
        confusion: `[label][decision]` counts of the same decisions.
        accuracy_over_frames: fraction of sequences with a correct decision after step 1, 2, ...; a
            sequence that has ended keeps its last decision, so the last entry is `accuracy`.
        settled_frames_p50, settled_frames_p90: quantiles, over the sequences with a correct final
            decision, of the frames until the decision was correct and stayed so.
        mae, rmse: mean absolute error, and root of the mean squared error, in units of the targets.
        mae_of_range, rmse_of_range: the same as a fraction of the range of the targets, from their
            smallest to their largest value: the mean over the outputs, each by its own range. None
            where the targets of one do not vary.
        mae_per_output, rmse_per_output: of each output by itself, as of each step of a forecast.
        r2: 1 - squared error / variance of the targets, the mean over the outputs; None where the
            targets of one do not vary.
        f1_micro: F1 over all labels of all sequences together, for several labels at once.
        f1_macro: the mean of the labels' own F1, where one that never occurs and is never predicted
            counts 0.
        subset_accuracy: fraction of the sequences, or steps, with every label correct.
        bits_per_character: mean of -log2 of the predicted probability of the next token.
    """

    task: str
    accuracy: float | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    accuracy_over_frames: tuple[float, ...] | None = None
    settled_frames_p50: int | None = None
    settled_frames_p90: int | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    mae_of_range: float | None = None
    rmse_of_range: float | None = None
    mae_per_output: tuple[float, ...] | None = None
    rmse_per_output: tuple[float, ...] | None = None
    f1_micro: float | None = None
    f1_macro: float | None = None
    subset_accuracy: float | None = None
    bits_per_character: float | None = None


class Scorer(ABC):
    """Computes the metrics of one task.

    Attributes:
        metrics: the fields of `Quality` that can have a limit.
    """

    metrics: tuple[str, ...]

    @abstractmethod
    def add(self, n: int, results: Array) -> None:
        """Adds the results (steps, outputs) of sequence n; each n once."""

    @abstractmethod
    def quality(self) -> Quality:
        """The metrics over all sequences."""


class TargetRows:
    """The targets of each sequence, one row (outputs,) for each result that counts.

    Args:
        targets: (N, ...) of each sequence, or (N, T, ...) of each frame, padded.
        size: frames per step, where the target of a step is that of its last frame; None where a
            sequence has one target, which is compared with its last result.
    """

    def __init__(self, targets: Array, size: int | None) -> None:
        self._is_last = size is None
        rows = targets[:, None] if size is None else targets[:, size - 1 :: size]
        self._rows = rows.reshape(*rows.shape[:2], -1)
        self._pairs: list[tuple[Array, Array]] = []

    def add(self, n: int, results: Array) -> None:
        """Adds the results (steps, outputs) of sequence n."""
        results = results[-1:] if self._is_last else results
        self._pairs.append((self._rows[n, : len(results)], results))

    def stacked(self) -> tuple[Array, Array]:
        """All targets and results so far, each (rows, outputs)."""
        targets, results = zip(*self._pairs, strict=True)
        return np.concatenate(targets), np.concatenate(results)


class Classes(Scorer):
    """A label per sequence.

    Args:
        labels: (N,) index of the correct output.
        classes: number of outputs; 2 with a threshold.
        size: frames per step; None where a sequence has a single result.
        threshold: of a single output, from which on the decision is 1; None: the largest output.
    """

    def __init__(
        self, labels: Labels, classes: int, size: int | None, threshold: float | None = None
    ) -> None:
        self._labels, self._classes, self._size = labels, classes, size
        self._threshold = threshold
        self.metrics = ("accuracy", "settled_frames_p90") if size else ("accuracy",)
        self._correct: dict[int, npt.NDArray[np.bool_]] = {}
        self._last = np.zeros(len(labels), np.int64)

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        decisions = _decisions(results, self._threshold)
        self._correct[n], self._last[n] = decisions == self._labels[n], decisions[-1]

    def quality(self) -> Quality:
        """See `Scorer`."""
        quality = Quality(
            task="classification",
            accuracy=float((self._last == self._labels).mean()),
            confusion=_confusion(self._labels, self._last, self._classes),
        )
        if self._size is None:
            return quality
        steps = max(map(len, self._correct.values()))
        correct = [np.pad(x, (0, steps - len(x)), "edge") for x in self._correct.values()]
        # The decision settles one step after the last wrong one.
        wrong = [np.flatnonzero(~x) for x in self._correct.values() if x[-1]]
        settled = [self._size * (2 + int(x[-1]) if len(x) else 1) for x in wrong]
        return replace(
            quality,
            accuracy_over_frames=tuple(np.mean(correct, axis=0).tolist()),
            settled_frames_p50=_quantile(settled, 0.5),
            settled_frames_p90=_quantile(settled, 0.9),
        )


class Frames(Scorer):
    """A label per frame.

    Args:
        labels: (N, T) index of the correct output, padded.
        classes: number of outputs; 2 with a threshold.
        size: frames per step; the label of a step is that of its last frame.
        threshold: as for `Classes`.
    """

    metrics = ("accuracy",)

    def __init__(
        self, labels: Labels, classes: int, size: int, threshold: float | None = None
    ) -> None:
        self._threshold = threshold
        self._labels, self._classes = labels[:, size - 1 :: size], classes
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        labels = self._labels[n, : len(results)]
        np.add.at(self._counts, (labels, _decisions(results, self._threshold)), 1)

    def quality(self) -> Quality:
        """See `Scorer`."""
        return Quality(
            task="frame-classification",
            accuracy=float(self._counts.trace() / self._counts.sum()),
            confusion=tuple(map(tuple, self._counts.tolist())),
        )


class Numbers(Scorer):
    """Numeric targets.

    Args:
        targets: (N,) or (N, ...) of each sequence, compared with its last result; or (N, T) or
            (N, T, ...) of each frame, padded.
        size: frames per step; the target of a step is that of its last frame. None, or targets of
            (N,): one target per sequence.
    """

    metrics = ("mae", "rmse", "r2", "mae_of_range", "rmse_of_range")

    def __init__(self, targets: Array, size: int | None) -> None:
        is_whole = targets.ndim == 1
        self._rows = TargetRows(targets.astype(np.float64), None if is_whole else size)

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        self._rows.add(n, results.astype(np.float64))

    def quality(self) -> Quality:
        """See `Scorer`."""
        targets, _ = self._rows.stacked()
        errors = self.errors()
        mae, squares = np.abs(errors).mean(0), (errors**2).mean(0)
        ranges, variance = np.ptp(targets, axis=0), targets.var(0)
        varies, several = bool(ranges.all()), len(mae) > 1
        return Quality(
            task="regression",
            mae=float(mae.mean()),
            rmse=float(np.sqrt(squares.mean())),
            r2=float((1 - squares / variance).mean()) if varies else None,
            mae_of_range=float((mae / ranges).mean()) if varies else None,
            rmse_of_range=float((np.sqrt(squares) / ranges).mean()) if varies else None,
            mae_per_output=tuple(mae.tolist()) if several else None,
            rmse_per_output=tuple(np.sqrt(squares).tolist()) if several else None,
        )

    def errors(self) -> Array:
        """Result - target of each frame, or of each sequence: (n, outputs)."""
        targets, results = self._rows.stacked()
        return results - targets


class Text(Scorer):
    """Next-token prediction.

    Args:
        tokens: (N, T) the token after each frame.
        lengths: (N,) how many of them are known.
    """

    metrics = ("bits_per_character",)

    def __init__(self, tokens: Labels, lengths: Labels) -> None:
        self._tokens, self._lengths = tokens, lengths
        self._bits, self._count = 0.0, 0

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        known = self._tokens[n, : self._lengths[n]]
        rows = _probabilities(results[: len(known)].astype(np.float64))
        predicted = np.maximum(rows[np.arange(len(known)), known], _MIN_PROBABILITY)
        self._bits -= float(np.log2(predicted).sum())
        self._count += len(known)

    def quality(self) -> Quality:
        """See `Scorer`."""
        return Quality(task="next-token", bits_per_character=self._bits / self._count)


def _decisions(results: Array, threshold: float | None) -> Labels:
    """(steps,) decisions of results (steps, outputs)."""
    decisions = results.argmax(-1) if threshold is None else results[:, 0] >= threshold
    return np.asarray(decisions, np.int64)


def _probabilities(results: Array) -> Array:
    """The rows (n, outputs) normalized to a sum of 1; rows of logits by a softmax."""
    if are_probabilities(results):
        return np.asarray(results / results.sum(-1, keepdims=True))
    powers = np.exp(results - results.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _confusion(labels: Labels, decisions: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, decisions), 1)
    return tuple(map(tuple, counts.tolist()))


def _quantile(values: list[int], fraction: float) -> int | None:
    """The value, one that occurred, that this fraction of them does not exceed."""
    return int(np.quantile(values, fraction, method="inverted_cdf")) if values else None
