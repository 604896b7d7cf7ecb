"""What a run's step times say, in microseconds."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]
_BINS_PER_DECADE = 10


@dataclass(frozen=True)
class Histogram:
    """How many steps fell between neighbouring edges.

    Attributes:
        edges_us: n + 1 edges, 10 to a decade at fixed places, so that histograms can be added.
        counts: n counts; bin k holds edges_us[k] <= t < edges_us[k + 1].
    """

    edges_us: tuple[float, ...]
    counts: tuple[int, ...]


def time_steps(step: Callable[[Any], Any], frames: Iterable[Any], times: Nanoseconds) -> list[Any]:
    """Runs the frames in order, each timed on its own.

    Args:
        step: takes a frame, returns a result.
        frames: the frames.
        times: as many places as frames; the times go here.

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


def figures(times: Nanoseconds) -> dict[str, Any]:
    """The figures `latency_us_*` of a run."""
    return {
        "latency_us_p50": _percentile_us(times, 50),
        "latency_us_p90": _percentile_us(times, 90),
        "latency_us_p99": _percentile_us(times, 99),
        "latency_us_max": int(times.max()) / 1e3,
        "latency_us_mean": float(times.mean()) / 1e3,
    }


def histogram(times: Nanoseconds) -> Histogram:
    """Counts the times in logarithmic bins."""
    least, most = max(int(times.min()), 1) / 1e3, max(int(times.max()), 1) / 1e3
    first = math.floor(math.log10(least) * _BINS_PER_DECADE)
    last = math.floor(math.log10(most) * _BINS_PER_DECADE) + 1
    edges = 10.0 ** (np.arange(first, last + 1) / _BINS_PER_DECADE)
    places = np.clip(np.searchsorted(edges, times / 1e3, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(places, minlength=len(edges) - 1)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _percentile_us(times: Nanoseconds, percent: float) -> float:
    """A time that really occurred and that `percent` of the steps did not exceed."""
    return float(np.percentile(times, percent, method="inverted_cdf")) / 1e3
