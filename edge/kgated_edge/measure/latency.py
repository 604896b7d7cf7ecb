"""Statistics of step times, in microseconds."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]
_BINS_PER_DECADE = 10
_SLICES = 500


@dataclass(frozen=True)
class Histogram:
    """Step times in logarithmic bins.

    Attributes:
        edges_us: n + 1 edges, 10 per decade at fixed places, so that histograms can be added.
        counts: n counts; bin k holds edges_us[k] <= t < edges_us[k + 1].
    """

    edges_us: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """Distribution of step times, in microseconds.

    Attributes:
        p50_us, p90_us, p99_us, p99_9_us, max_us: quantiles and maximum.
        mean_us: the mean.
        std_us: the standard deviation.
        histogram: the same times in logarithmic bins.
    """

    p50_us: float
    p90_us: float
    p99_us: float
    p99_9_us: float
    max_us: float
    mean_us: float
    std_us: float
    histogram: Histogram


@dataclass(frozen=True)
class Timeline:
    """Step times in order, in at most 500 slices of equally many steps.

    Attributes:
        steps_per_slice: steps in each slice; the last may have fewer.
        p50_us: the median of each slice.
        max_us: the longest of each slice.
    """

    steps_per_slice: int
    p50_us: tuple[float, ...]
    max_us: tuple[float, ...]


def timeline(times: Nanoseconds) -> Timeline:
    """Divides the times of a run (one step or more) into slices.

    Args:
        times: (steps,) ns.
    """
    size = -(-len(times) // _SLICES)
    slices = [times[n : n + size] for n in range(0, len(times), size)]
    return Timeline(
        size,
        tuple(_quantile_us(part, 0.5) for part in slices),
        tuple(int(part.max()) / 1e3 for part in slices),
    )


def spread(times: Nanoseconds) -> Spread:
    """The distribution of the times of a run (one step or more).

    Args:
        times: (steps,) ns.
    """
    return Spread(
        p50_us=_quantile_us(times, 0.5),
        p90_us=_quantile_us(times, 0.9),
        p99_us=_quantile_us(times, 0.99),
        p99_9_us=_quantile_us(times, 0.999),
        max_us=int(times.max()) / 1e3,
        mean_us=float(times.mean()) / 1e3,
        std_us=float(times.std()) / 1e3,
        histogram=histogram(times),
    )


def time_steps(step: Callable[[Any], Any], frames: Iterable[Any], times: Nanoseconds) -> list[Any]:
    """Runs the frames in order and times each.

    Args:
        step: takes a frame, returns a result.
        frames: the frames.
        times: (frames,) receives the times in ns.

    Returns:
        the result of each step.
    """
    clock, results = perf_counter_ns, []
    for n, frame in enumerate(frames):
        start = clock()
        result = step(frame)
        times[n] = clock() - start
        results.append(result)
    return results


def metrics(times: Nanoseconds) -> dict[str, Any]:
    """The metrics `latency_us_*` of a run, from times (steps,) in ns."""
    return {
        "latency_us_p50": _quantile_us(times, 0.5),
        "latency_us_p90": _quantile_us(times, 0.9),
        "latency_us_p99": _quantile_us(times, 0.99),
        "latency_us_max": int(times.max()) / 1e3,
        "latency_us_mean": float(times.mean()) / 1e3,
    }


def histogram(times: Nanoseconds) -> Histogram:
    """Counts the times (steps,), in ns, in logarithmic bins."""
    low, high = max(int(times.min()), 1) / 1e3, max(int(times.max()), 1) / 1e3
    first = math.floor(math.log10(low) * _BINS_PER_DECADE)
    last = math.floor(math.log10(high) * _BINS_PER_DECADE) + 1
    edges = 10.0 ** (np.arange(first, last + 1) / _BINS_PER_DECADE)
    places = np.clip(np.searchsorted(edges, times / 1e3, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(places, minlength=len(edges) - 1)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _quantile_us(times: Nanoseconds, fraction: float) -> float:
    """The smallest measured time that this fraction of the steps did not exceed."""
    return float(np.quantile(times, fraction, method="inverted_cdf")) / 1e3
