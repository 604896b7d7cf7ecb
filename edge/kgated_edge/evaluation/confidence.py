"""Confidence intervals of counts and of fractions, without SciPy."""

import math
from collections.abc import Callable
from dataclasses import dataclass

_HALVINGS = 80
_Z = {0.9: 1.6448536269514722, 0.95: 1.959963984540054, 0.99: 2.5758293035489004}
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Lower and upper limit of an unknown value."""

    low: float
    high: float


def poisson_interval(count: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact interval (Garwood's) of the mean of a Poisson count.

    Equations: P(X >= count | low) = (1 - confidence) / 2 = P(X <= count | high).

    Args:
        count: observed events.
        confidence: probability that the interval covers the mean, at least.
    """
    tail = (1 - confidence) / 2
    # Far above any mean that could give such a count.
    bound = count + 12 * math.sqrt(count + 1) + 12
    low = 0.0
    if count > 0:
        low = _root(lambda mean: 1 - poisson_cdf(count - 1, mean) - tail, 0.0, bound)
    return Interval(low, _root(lambda mean: tail - poisson_cdf(count, mean), 0.0, bound))


def poisson_cdf(count: int, mean: float) -> float:
    """P(X <= count) of a Poisson variable."""
    if mean == 0:
        return 1.0
    log_mean = math.log(mean)
    # Terms further than this from the mean are below 1e-20.
    first = max(0, math.floor(mean - 12 * math.sqrt(mean + 1) - 12))
    terms = (math.exp(k * log_mean - mean - math.lgamma(k + 1)) for k in range(first, count + 1))
    return min(1.0, math.fsum(terms))


def wilson_interval(count: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a fraction.

    Args:
        count: successes.
        total: trials; with 0 the interval is 0..1.
        confidence: 0.9, 0.95 or 0.99.
    """
    if total == 0:
        return Interval(0.0, 1.0)
    z, fraction = _Z[confidence], count / total
    scale = 1 + z * z / total
    middle = (fraction + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(fraction * (1 - fraction) / total + z * z / (4 * total * total))
    # Exact at the ends, where rounding would leave 1e-17.
    low = 0.0 if count == 0 else middle - half
    return Interval(low, 1.0 if count == total else middle + half)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is zero, by bisection."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
