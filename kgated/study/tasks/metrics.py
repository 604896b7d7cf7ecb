"""The metrics of a comparison: direction, text, and the score of each test sequence."""

from dataclasses import dataclass
from math import sqrt

import numpy as np


@dataclass(frozen=True)
class Metric:
    """A measure of accuracy or error, and how it is written.

    Attributes:
        name: as in the reports of `kgated-edge check`, such as "accuracy".
        title: for an axis or a column.
        higher_is_better: the direction.
        unit: follows a value, such as "%".
        unit_of_difference: follows a difference, such as " points".
        factor: from the value to the text's number; 100 for percent.
        is_root: whether the metric is the root of the mean score.
        tolerance: by how much a recipe may be worse than the best one.
        tolerance_is_relative: whether `tolerance` is a fraction of the value.
        tolerance_text: the same in words.
    """

    name: str
    title: str
    higher_is_better: bool
    unit: str
    unit_of_difference: str
    factor: float
    is_root: bool
    tolerance: float
    tolerance_is_relative: bool
    tolerance_text: str

    def mean(self, totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The metric of sums of scores over the sums of their counts, elementwise."""
        means = totals / counts
        return np.sqrt(means) if self.is_root else means

    def gain(self, value: float, reference: float) -> float:
        """The amount by which a value is better than a reference; below 0: worse."""
        return value - reference if self.higher_is_better else reference - value

    def is_close(self, value: float, best: float) -> bool:
        """Whether a value is worse than the best one by the tolerance at most."""
        allowed = self.tolerance * (abs(best) if self.tolerance_is_relative else 1.0)
        return self.gain(best, value) <= allowed

    def text(self, value: float) -> str:
        """A value with its unit."""
        return f"{self.number(value)}{self.unit}"

    def named(self, value: float) -> str:
        """A value after the title, or before it where the title is its unit."""
        is_unit = self.unit.strip() == self.title
        return self.text(value) if is_unit else f"{self.title} {self.text(value)}"

    def cell(self, value: float) -> str:
        """A value for a table, with a unit that is a sign."""
        return self.text(value) if self.unit == "%" else self.number(value)

    def number(self, value: float) -> str:
        """A value without its unit."""
        scaled = self.factor * value
        return f"{scaled:.1f}" if self.factor == 100.0 else f"{scaled:.4g}"

    def difference(self, value: float) -> str:
        """A difference with its sign, without its unit."""
        scaled = self.factor * value
        return f"{scaled:+.1f}" if self.factor == 100.0 else f"{scaled:+.3g}"


def _rate(title: str) -> Metric:
    text = "half a point of"
    return Metric("accuracy", title, True, "%", " points", 100.0, False, 0.005, False, text)


ACCURACY, FRAME_ACCURACY = _rate("accuracy"), _rate("frame accuracy")
RMSE = Metric("rmse", "RMSE", False, "", "", 1.0, True, 0.01, True, "1% of the error of")
BITS = Metric(
    name="bits_per_character",
    title="bits per token",
    higher_is_better=False,
    unit=" bits per token",
    unit_of_difference=" bits",
    factor=1.0,
    is_root=False,
    tolerance=0.01,
    tolerance_is_relative=False,
    tolerance_text="0.01 bits of",
)


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a model on each test sequence.

    Attributes:
        totals: (seeds, N), the sum of a sequence's scores: decisions that are right, squared
            errors, or bits.
        counts: (N,), of how many decisions, results or tokens.
    """

    totals: np.ndarray
    counts: np.ndarray

    def values(self, metric: Metric) -> np.ndarray:
        """The metric of each seed's model, (seeds,)."""
        return metric.mean(self.totals.sum(axis=1), self.counts.sum())

    def value(self, metric: Metric) -> float:
        """The mean of the metric over the seeds."""
        return float(self.values(metric).mean())


def stacked(scores: list[Scores]) -> Scores:
    """The scores of several seeds' models on the same sequences as one."""
    return Scores(np.concatenate([score.totals for score in scores]), scores[0].counts)


def joined_scores(blocks: list[Scores]) -> Scores:
    """The scores of the same models on several blocks of sequences as one."""
    totals = np.concatenate([block.totals for block in blocks], axis=1)
    return Scores(totals, np.concatenate([block.counts for block in blocks]))


def spread(values: tuple[float, ...]) -> float:
    """Standard deviation of the values of the seeds; 0 for one seed."""
    return sqrt(float(np.var(values, ddof=1))) if len(values) > 1 else 0.0
