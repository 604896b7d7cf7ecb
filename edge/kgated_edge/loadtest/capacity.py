"""Capacity search: how many streams meet their deadlines, within a memory budget."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kgated_edge.errors import EdgeError
from kgated_edge.loadtest.scheduler import Clock, Record, Schedule, run_on_schedule
from kgated_edge.measure.monitor import resident_mib

AddStreams = Callable[[int], Callable[[int], object]]
"""Takes a number of streams, returns the step that runs frame n of each."""
OnTrial = Callable[[int, bool], object]
"""Takes a number of streams, and whether they met their deadlines."""
ReadMemory = Callable[[], tuple[float | None, float | None]]
"""Returns the process's resident memory and the available memory, in MiB."""
_MIN_STREAMS_TO_EXTRAPOLATE = 64
_SPARE_FRACTION = 0.25  # of the memory available at the start
_TRIAL_NS = 1_000_000_000
_MIN_ROUNDS, _MAX_ROUNDS = 20, 200
_ATTEMPTS = 3
_SEARCH_NS = 45_000_000_000
_FILLED_FRACTION, _MAX_GROWTH = 0.8, 256


def find_capacity(
    add_streams: AddStreams,
    schedule: Schedule,
    max_misses: int,
    clock: Clock,
    on_trial: OnTrial = lambda streams, passed: None,
) -> int:
    """The largest number of streams that meets its deadlines, to 1%; 0 where one is too many.

    Each number is tried for a second, in 20 to 200 periods. A trial that fails is repeated twice,
    since a pause of the machine is not a lack of speed. After 45 s the search ends with the largest
    number that has passed.

    Args:
        add_streams: makes streams; a number for which it raises `MemoryBudgetError` is too many.
        schedule: period and deadline.
        max_misses: deadlines that a trial may miss; one that misses all fails.
        clock: the time.
        on_trial: receives each number, and whether it passed.
    """
    rounds = min(max(_TRIAL_NS // schedule.period_ns, _MIN_ROUNDS), _MAX_ROUNDS)
    trial, allowed = replace(schedule, count=rounds), min(max_misses, rounds - 1)
    end = clock.now() + _SEARCH_NS

    def predict(streams: int) -> int:
        predicted = 0
        with suppress(MemoryBudgetError):
            step = add_streams(streams)
            step(0)
            records = (_record(step, trial, clock) for _ in range(_ATTEMPTS))
            passed = next((r for r in records if _misses(r) <= allowed), None)
            predicted = 0 if passed is None else _predicted(streams, passed)
        on_trial(streams, predicted > 0)
        return predicted

    return largest(predict, lambda: clock.now() < end)


def largest(predict: Callable[[int], int], has_time: Callable[[], bool] = lambda: True) -> int:
    """The largest number that passes, to 1%: grows until one fails, then bisects.

    Args:
        predict: 0 where a number fails; else what is likely to pass, which is tried next where it
            is more than twice the number.
        has_time: whether to go on.
    """
    good, bad = 0, 1
    while predicted := predict(bad):
        good, bad = bad, max(2 * bad, predicted)
        if not has_time():
            return good
    while bad - good > max(1, good // 100) and has_time():
        middle = (good + bad) // 2
        good, bad = (middle, bad) if predict(middle) else (good, middle)
    return good


def _record(step: Callable[[int], object], trial: Schedule, clock: Clock) -> Record:
    record = Record(trial)
    run_on_schedule(step, record, clock)
    return record


def _misses(record: Record) -> int:
    return record.late + record.schedule.count - record.done


def _predicted(streams: int, record: Record) -> int:
    """The expected number of streams within the deadline, by the median step time; at least 1.

    The time of a few streams does not predict that of thousands.
    """
    schedule = record.schedule
    if streams < _MIN_STREAMS_TO_EXTRAPOLATE:
        return 1
    median = max(1, int(sorted(record.compute_ns[: record.done])[record.done // 2]))
    growth = _FILLED_FRACTION * min(schedule.period_ns, schedule.deadline_ns) / median
    return max(1, int(streams * min(growth, _MAX_GROWTH)))


class MemoryBudgetError(EdgeError):
    """The number of streams needs more memory than is available."""


class MemoryLimited:
    """Adds streams while they fit into memory, up to 64 at most twice as many at a time.

    The memory of the streams added last predicts that of the next. Where the system does not show
    its memory, there is no limit.

    Args:
        add_streams: makes the streams.
        read_memory: resident and available memory in MiB; None: as the system says.

    Attributes:
        is_full: whether streams were refused.
    """

    def __init__(self, add_streams: AddStreams, read_memory: ReadMemory | None = None) -> None:
        self._add_streams, self._read_memory = add_streams, read_memory or system_memory
        self._count, self._mib_per_stream, self.is_full = 0, 0.0, False
        self._spare = _SPARE_FRACTION * (self._read_memory()[1] or 0.0)

    def __call__(self, count: int) -> Callable[[int], object]:
        """As `AddStreams`; raises `MemoryBudgetError`."""
        while self._count < count:
            # The memory of one stream or two does not predict that of thousands.
            is_known = self._count >= _MIN_STREAMS_TO_EXTRAPOLATE
            target = count if is_known else min(count, max(1, 2 * self._count))
            before, available = self._read_memory()
            needed = (target - self._count) * self._mib_per_stream
            if available is not None and needed > available - self._spare:
                self.is_full = True
                raise MemoryBudgetError(
                    f"`streams`: {target} would take {needed:.0f} MiB more than {self._count} do, "
                    f"of {available:.0f} that are free: take fewer, or sessions of a pool (--pool)"
                )
            self._add_streams(target)
            after = self._read_memory()[0]
            if before is not None and after is not None:
                self._mib_per_stream = max(0.0, after - before) / (target - self._count)
            self._count = target
        self._count = count
        return self._add_streams(count)


def system_memory(root: Path = Path("/")) -> tuple[float | None, float | None]:
    """The process's resident memory, and the available memory, in MiB.

    Available is what the system can give without swapping, or less where the limit of a container
    or of the process's address space (`ulimit -v`) is lower.
    """
    limits = [_available(root / "proc/meminfo"), _cgroup(root / "sys/fs/cgroup"), _unmapped(root)]
    return resident_mib(root), min((mib for mib in limits if mib is not None), default=None)


def _available(path: Path) -> float | None:
    try:
        lines = path.read_text().splitlines()
        return next(
            int(text.split()[1]) / 2**10 for text in lines if text.startswith("MemAvailable:")
        )
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _cgroup(folder: Path) -> float | None:
    """The memory left in a container, by control groups version 2."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
        return (int(limit) - int(used)) / 2**20
    except (OSError, ValueError):
        return None


def _unmapped(root: Path) -> float | None:
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

        limit, pages = getrlimit(RLIMIT_AS)[0], (root / "proc/self/statm").read_text().split()[0]
    except (ImportError, OSError):
        return None
    used = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None if limit == RLIM_INFINITY else (limit - used) / 2**20
