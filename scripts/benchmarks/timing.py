"""Times of several candidates, measured in turns, so that disturbances affect all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Run = Callable[[], Any]
Summary = Callable[[Sequence[float]], float]
SLICE_US, MOST_CALLS = 3000.0, 200


def medians_us(runs: Mapping[str, Run], rounds: int, calls: int | None = None) -> dict[str, float]:
    """Median µs per call of each; the arguments are those of `times_us`."""
    return times_us(runs, rounds, statistics.median, calls)


def times_us(
    runs: Mapping[str, Run], rounds: int, summary: Summary, calls: int | None = None
) -> dict[str, float]:
    """µs per call of each.

    Args:
        runs: name to function.
        rounds: the number of turns of each.
        summary: of the turns of one, such as the median.
        calls: per turn. None: as many as fill 3 ms, between 1 and 200.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    counts = {name: calls or _calls(run) for name, run in runs.items()}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            times[name].append(_mean_us(run, counts[name]))
    return {name: summary(values) for name, values in times.items()}


def _calls(run: Run) -> int:
    run()
    return max(1, min(MOST_CALLS, int(SLICE_US / _mean_us(run, 2))))


def _mean_us(run: Run, calls: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(calls):
        run()
    return (time.perf_counter_ns() - start) / calls / 1000
