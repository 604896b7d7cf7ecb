"""Whether a difference of two models on the same test sequences is more than noise."""

from dataclasses import dataclass
from math import comb

import numpy as np

RESAMPLES, CONFIDENCE = 4000, 0.95


@dataclass(frozen=True)
class Paired:
    """One model against another on the same test sequences.

    Attributes:
        difference: of the mean accuracies over the seeds, the first minus the second.
        low, high: the 95% interval of the difference, from a paired bootstrap over test sequences
            (or their groups) and seeds.
        only_first, only_second: sequences that one model's first seed decides right and the
            other's wrong.
        mcnemar_p: the exact p-value of McNemar's test on those counts.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    mcnemar_p: float

    @property
    def is_noise(self) -> bool:
        """Whether the interval contains 0."""
        return self.low <= 0.0 <= self.high


def compare_pairs(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> Paired:
    """Compare two models by the test sequences that they decide right.

    Args:
        first: (seeds, N) boolean, whether a seed's model decides a sequence right.
        second: the same of the other model, for the same N sequences.
        groups: (N,) which sequences belong together and are drawn together; None: each alone.
        seed: of the bootstrap.

    Returns:
        The difference with its interval, and McNemar's test of the first seeds.
    """
    rng = np.random.default_rng(seed)
    weights = _sequence_weights(first.shape[1], groups, rng)
    draws = _resampled(first, weights, rng) - _resampled(second, weights, rng)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    only_first = int((first[0] & ~second[0]).sum())
    only_second = int((second[0] & ~first[0]).sum())
    p = mcnemar(only_first, only_second)
    difference = float(first.mean() - second.mean())
    return Paired(difference, float(low), float(high), only_first, only_second, p)


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p-value of McNemar's test for two counts of discordant pairs."""
    count = first + second
    tail = sum(comb(count, k) for k in range(min(first, second) + 1)) / 2**count
    return min(1.0, 2 * tail)


def _sequence_weights(
    count: int, groups: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """How often each sequence is in each resample, (RESAMPLES, N), as a fraction."""
    units = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    number = int(units.max()) + 1
    drawn = rng.multinomial(number, np.full(number, 1 / number), size=RESAMPLES)[:, units]
    return drawn / drawn.sum(axis=1, keepdims=True)


def _resampled(right: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The accuracy (RESAMPLES,) of resampled seeds on resampled sequences."""
    seeds = len(right)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    return np.einsum("rs,sn,rn->r", drawn, right.astype(float), weights, optimize=True)
