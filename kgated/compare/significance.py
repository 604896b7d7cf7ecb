"""Tests whether two models differ significantly on the same test sequences."""

from dataclasses import dataclass
from math import comb

import numpy as np

from kgated.study.tasks.metrics import Metric, Scores

RESAMPLES, CONFIDENCE = 4000, 0.95
MIN_UNITS = 6  # with fewer, no result of a permutation test is below 0.05
EXACT_UNITS = 12  # with more, signs are drawn


@dataclass(frozen=True)
class PairedDifference:
    """One model against another on the same test sequences.

    Attributes:
        difference: of the means of the metric over the seeds; above 0 where the first is better.
        low, high: the 95% interval of the difference, from a paired bootstrap over test sequences
            (or their groups) and seeds.
        only_first, only_second: sequences on which the first seed of one model is better than that
            of the other; for decisions, those that one alone decides right.
        sign_test_p: the exact p-value of the sign test on those counts; for decisions it is
            McNemar's test.
        permutation_p: the two-sided p-value of a paired permutation test: the signs of the
            differences of sequences, or of their groups, in the mean over the seeds are exchanged.
            None with fewer than six of them.
        units: the number of test sequences, or of their groups.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    sign_test_p: float
    permutation_p: float | None = None
    units: int = MIN_UNITS

    @property
    def has_few_units(self) -> bool:
        """Whether no test can reject equality: two to five sequences or groups."""
        return 1 < self.units < MIN_UNITS

    @property
    def is_noise(self) -> bool:
        """Whether the interval contains 0, or the permutation test does not reject equality.

        The interval alone is too narrow where few sequences differ, or where there are few. Of one
        sequence, such as a text, it is the interval over the seeds, and it alone decides.
        """
        is_rejected = self.permutation_p is None or self.permutation_p < 1 - CONFIDENCE
        return self.low <= 0.0 <= self.high or not is_rejected or self.has_few_units

    @property
    def is_gain(self) -> bool:
        """Whether the first model is better beyond noise."""
        return self.low > 0.0 and not self.is_noise


def compare_pairs(
    first: Scores,
    second: Scores,
    metric: Metric,
    groups: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models by their scores on the same test sequences.

    Args:
        first: of one model.
        second: of the other model, for the same N sequences.
        metric: of the scores.
        groups: (N,) which sequences belong together and are drawn together; None: each alone.
        seed: of the bootstrap.

    Returns:
        The difference with its interval, the permutation test, and the sign test of the first
        seeds.
    """
    rng = np.random.default_rng(seed)
    units = _units(len(first.counts), groups)
    weights = _sequence_weights(units, rng)
    sign = 1.0 if metric.higher_is_better else -1.0
    draws = sign * (
        _resampled(first, metric, weights, rng) - _resampled(second, metric, weights, rng)
    )
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    better = sign * (first.totals[0] - second.totals[0])
    only_first, only_second = int((better > 0).sum()), int((better < 0).sum())
    p = sign_test(only_first, only_second)
    difference = metric.gain(first.value(metric), second.value(metric))
    gains = np.bincount(units, first.totals.mean(axis=0) - second.totals.mean(axis=0))
    return PairedDifference(
        difference,
        float(low),
        float(high),
        only_first,
        only_second,
        p,
        permutation_test(gains, rng),
        len(gains),
    )


def sign_test(first: int, second: int) -> float:
    """The exact two-sided p-value of the sign test for two counts of discordant pairs."""
    count = first + second
    tail = sum(comb(count, k) for k in range(min(first, second) + 1)) / 2**count
    return min(1.0, 2 * tail)


def permutation_test(gains: np.ndarray, rng: np.random.Generator) -> float | None:
    """The two-sided p-value of a paired permutation test.

    Args:
        gains: (units,) the difference of two models on each unit.
        rng: of the signs that are drawn for more than `EXACT_UNITS` units; with fewer, all
            combinations of signs are taken.

    Returns:
        The fraction of sign combinations whose sum is at least as far from 0; None for fewer than
        `MIN_UNITS` units.
    """
    number = len(gains)
    if number < MIN_UNITS:
        return None
    if number <= EXACT_UNITS:
        signs = np.arange(2**number)[:, None] >> np.arange(number) & 1
    else:
        # The observed signs are one of the combinations, so that p is never 0.
        signs = np.vstack([np.ones(number, int), rng.integers(0, 2, (RESAMPLES, number))])
    sums = np.abs((2 * signs - 1) @ gains)
    return float((sums >= np.abs(gains.sum()) - 1e-9 * np.abs(gains).sum()).mean())


def _units(count: int, groups: np.ndarray | None) -> np.ndarray:
    """The number of the group of each sequence (N,), or of the sequence itself."""
    return np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]


def _sequence_weights(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each sequence is in each resample, (RESAMPLES, N)."""
    number = int(units.max()) + 1
    return rng.multinomial(number, np.full(number, 1 / number), size=RESAMPLES)[:, units]


def _resampled(
    scores: Scores, metric: Metric, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The metric (RESAMPLES,) of resampled seeds on resampled sequences."""
    seeds = len(scores.totals)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    counts = np.maximum(weights @ scores.counts, 1e-12)[:, None]
    values = metric.mean(weights @ scores.totals.T, counts)
    return np.asarray((drawn * values).sum(axis=1))
