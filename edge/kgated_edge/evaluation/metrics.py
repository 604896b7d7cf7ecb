"""Metrics of a model's outputs: classification per sequence or frame, regression, text.

Each scorer takes the results of one sequence at a time and keeps only what it needs of them.
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
        task: "classes", "frames", "numbers" or "text".
        accuracy: fraction of correct decisions: at the last step of each sequence, or at every step
            where there is a label per frame. The decision is the largest output.
        confusion: [label][decision] counts of the same decisions.
        accuracy_over_frames: fraction of sequences with a correct decision after step 1, 2, ...; a
            sequence that has ended keeps its last decision, so the last entry is `accuracy`.
        settled_frames_p50, settled_frames_p90: quantiles, over the sequences with a correct final
            decision, of the frames until the decision was correct and stayed so.
        mae, rmse: mean absolute error, and root of the mean squared error, in units of the output.
        r2: 1 - squared error / variance of the targets, the mean over the outputs; None where the
            targets of one do not vary.
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
            task="classes",
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
            task="frames",
            accuracy=float(self._counts.trace() / self._counts.sum()),
            confusion=tuple(map(tuple, self._counts.tolist())),
        )


class Numbers(Scorer):
    """Numeric targets.

    Args:
        targets: (N,) of each sequence, compared with its last result, for a model of one output; or
            (N, T) or (N, T, outputs) of each frame, padded.
        size: frames per step; the target of a step is that of its last frame.
    """

    metrics = ("mae", "rmse", "r2")

    def __init__(self, targets: Array, size: int) -> None:
        self._whole = targets.ndim == 1
        per_frame = targets[:, None] if self._whole else targets[:, size - 1 :: size]
        self._targets = per_frame.reshape(*per_frame.shape[:2], -1).astype(np.float64)
        self._pairs: list[tuple[Array, Array]] = []

    def add(self, n: int, results: Array) -> None:
        """See `Scorer`."""
        results = results[-1:] if self._whole else results
        self._pairs.append((self._targets[n, : len(results)], results.astype(np.float64)))

    def quality(self) -> Quality:
        """See `Scorer`."""
        targets = np.concatenate([target for target, _ in self._pairs])
        errors = np.concatenate([result for _, result in self._pairs]) - targets
        spread = ((targets - targets.mean(0)) ** 2).sum(0)
        squares = (errors**2).sum(0)
        return Quality(
            task="numbers",
            mae=float(np.abs(errors).mean()),
            rmse=float(np.sqrt((errors**2).mean())),
            r2=float((1 - squares / spread).mean()) if spread.all() else None,
        )


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
        return Quality(task="text", bits_per_character=self._bits / self._count)


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
