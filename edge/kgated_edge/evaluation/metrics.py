"""How good the results of a model are: of classes, of classes per frame, of numbers, of text.

Each scorer takes the results of one sequence at a time and keeps no more of them than it needs.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kgated_edge.format.tensor_spec import Array

Labels = npt.NDArray[np.int64]
_MIN_PROBABILITY = 1e-12  # a probability of zero, as of int8 outputs, counts as this


@dataclass(frozen=True)
class Quality:
    """What a run over a data set was worth; None where the task has no such figure.

    Attributes:
        task: "classes", "frames", "numbers" or "text".
        accuracy: share of right decisions: at the last step of a sequence, or of all steps where
            there is a label per frame. The decision is the largest output.
        confusion: [label][decision] counts of the same decisions.
        accuracy_over_frames: share of sequences whose decision after step 1, 2, ... is right; one
            that has ended keeps its last decision, so the last entry is `accuracy`.
        settled_frames_p50, settled_frames_p90: of the sequences decided rightly at the end, how
            many frames half and nine tenths of them took until the decision was right and stayed.
        mae, rmse: mean absolute error, and root of the mean squared error, in units of the output.
        r2: 1 - squared error / variance of the targets, the mean over the outputs; None where the
            targets of one do not vary.
        bits_per_character: mean of -log2 of the probability given to the token that came.
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
    """What `check` asks of each of the classes below.

    Attributes:
        figures: the fields of `Quality` that can be limited.
    """

    figures: tuple[str, ...]

    @abstractmethod
    def add(self, n: int, results: Array) -> None:
        """Takes the results (steps, outputs) of sequence n; each n once."""

    @abstractmethod
    def quality(self) -> Quality:
        """What all of them were worth."""


class Classes(Scorer):
    """A label per sequence.

    Args:
        labels: (N,) index of the right output.
        classes: outputs.
        size: frames per step; None where a sequence has one result only.
    """

    def __init__(self, labels: Labels, classes: int, size: int | None) -> None:
        self._labels, self._classes, self._size = labels, classes, size
        self.figures = ("accuracy", "settled_frames_p90") if size else ("accuracy",)
        self._right: dict[int, npt.NDArray[np.bool_]] = {}
        self._last = np.zeros(len(labels), np.int64)

    def add(self, n: int, results: Array) -> None:
        """As `Scorer` says."""
        decisions = results.argmax(-1)
        self._right[n], self._last[n] = decisions == self._labels[n], decisions[-1]

    def quality(self) -> Quality:
        """As `Scorer` says."""
        found = Quality(
            task="classes",
            accuracy=float((self._last == self._labels).mean()),
            confusion=_confusion(self._labels, self._last, self._classes),
        )
        if self._size is None:
            return found
        most = max(map(len, self._right.values()))
        right = [np.pad(one, (0, most - len(one)), "edge") for one in self._right.values()]
        # The last wrong decision is the one before the decision settled.
        wrong = [np.flatnonzero(~one) for one in self._right.values() if one[-1]]
        settled = [self._size * (2 + int(one[-1]) if len(one) else 1) for one in wrong]
        return replace(
            found,
            accuracy_over_frames=tuple(np.mean(right, axis=0).tolist()),
            settled_frames_p50=_quantile(settled, 0.5),
            settled_frames_p90=_quantile(settled, 0.9),
        )


class Frames(Scorer):
    """A label per frame.

    Args:
        labels: (N, T) index of the right output, padded.
        classes: outputs.
        size: frames per step; a step is judged by the label of its last frame.
    """

    figures = ("accuracy",)

    def __init__(self, labels: Labels, classes: int, size: int) -> None:
        self._labels, self._classes = labels[:, size - 1 :: size], classes
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, n: int, results: Array) -> None:
        """As `Scorer` says."""
        labels = self._labels[n, : len(results)]
        np.add.at(self._counts, (labels, results.argmax(-1)), 1)

    def quality(self) -> Quality:
        """As `Scorer` says."""
        return Quality(
            task="frames",
            accuracy=float(self._counts.trace() / self._counts.sum()),
            confusion=tuple(map(tuple, self._counts.tolist())),
        )


class Numbers(Scorer):
    """Targets that are numbers.

    Args:
        targets: (N,) of each sequence, compared with its last result, for a model of one output; or
            (N, T) or (N, T, outputs) of each frame, padded.
        size: frames per step; a step is judged by the target of its last frame.
    """

    figures = ("mae", "rmse", "r2")

    def __init__(self, targets: Array, size: int) -> None:
        self._whole = targets.ndim == 1
        per_frame = targets[:, None] if self._whole else targets[:, size - 1 :: size]
        self._targets = per_frame.reshape(*per_frame.shape[:2], -1).astype(np.float64)
        self._found: list[tuple[Array, Array]] = []

    def add(self, n: int, results: Array) -> None:
        """As `Scorer` says."""
        results = results[-1:] if self._whole else results
        self._found.append((self._targets[n, : len(results)], results.astype(np.float64)))

    def quality(self) -> Quality:
        """As `Scorer` says."""
        targets = np.concatenate([one for one, _ in self._found])
        errors = np.concatenate([one for _, one in self._found]) - targets
        spread = ((targets - targets.mean(0)) ** 2).sum(0)
        squares = (errors**2).sum(0)
        return Quality(
            task="numbers",
            mae=float(np.abs(errors).mean()),
            rmse=float(np.sqrt((errors**2).mean())),
            r2=float((1 - squares / spread).mean()) if spread.all() else None,
        )


class Text(Scorer):
    """The next token, foretold.

    Args:
        tokens: (N, T) what comes after each frame.
        lengths: (N,) how many of them are known.
    """

    figures = ("bits_per_character",)

    def __init__(self, tokens: Labels, lengths: Labels) -> None:
        self._tokens, self._lengths = tokens, lengths
        self._bits, self._count = 0.0, 0

    def add(self, n: int, results: Array) -> None:
        """As `Scorer` says."""
        known = self._tokens[n, : self._lengths[n]]
        shares = _probabilities(results[: len(known)].astype(np.float64))
        found = np.maximum(shares[np.arange(len(known)), known], _MIN_PROBABILITY)
        self._bits -= float(np.log2(found).sum())
        self._count += len(known)

    def quality(self) -> Quality:
        """As `Scorer` says."""
        return Quality(task="text", bits_per_character=self._bits / self._count)


def are_probabilities(results: Array) -> bool:
    """Whether each row (..., outputs) is one of probabilities, as a softmax gives them."""
    # Quantized outputs of a softmax are each off by up to half a step, of 1 / 256 in int8.
    found = results.size and results.min() >= 0 and np.abs(results.sum(-1) - 1).max() <= 0.1
    return bool(found)


def _probabilities(results: Array) -> Array:
    """The rows so that each sums to 1: outputs of a softmax as they are, others by a softmax."""
    if are_probabilities(results):
        return np.asarray(results / results.sum(-1, keepdims=True))
    powers = np.exp(results - results.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _confusion(labels: Labels, decisions: Labels, classes: int) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, decisions), 1)
    return tuple(map(tuple, counts.tolist()))


def _quantile(values: list[int], share: float) -> int | None:
    """A value that occurred and that this share of them does not exceed."""
    return int(np.quantile(values, share, method="inverted_cdf")) if values else None
