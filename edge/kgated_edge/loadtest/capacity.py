"""How many streams one core carries: found by running them."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kgated_edge.errors import EdgeError
from kgated_edge.loadtest.scheduler import Clock, Record, Schedule, pace
from kgated_edge.measure.monitor import resident_mib

Grow = Callable[[int], Callable[[int], object]]


Look = Callable[[], tuple[float | None, float | None]]


_ENOUGH = 64


_SPARE = 0.25  # of what was free at the start


_TRIAL_NS = 1_000_000_000
_LEAST_ROUNDS, _MOST_ROUNDS = 20, 200
_ATTEMPTS = 3


def carried(
    grow: Grow,
    schedule: Schedule,
    max_misses: int,
    clock: Clock,
) -> int:
    """The largest number of streams whose trial kept its deadlines, to 1%; 0 when one is too many.

    A trial is a second of rounds, 20 to 200 of them. One that misses is repeated twice: a pause of
    the machine is not a lack of speed.

    Args:
        grow: takes a number of streams, returns the step that runs one frame of each; a number that
            it raises `NoRoomError` for is too many.
        schedule: period and deadline.
        max_misses: deadlines that a trial may miss.
        clock: the time.
    """
    rounds = min(max(_TRIAL_NS // schedule.period_ns, _LEAST_ROUNDS), _MOST_ROUNDS)
    trial = replace(schedule, count=rounds)

    def holds(streams: int) -> bool:
        with suppress(NoRoomError):
            step = grow(streams)
            step(0)
            return any(_misses(step, trial, clock) <= max_misses for _ in range(_ATTEMPTS))
        return False

    return largest(holds)


def largest(holds: Callable[[int], bool]) -> int:
    """The largest number that holds, to 1%: upward by doubling, then by halving what is open."""
    good, bad = 0, 1
    while holds(bad):
        good, bad = bad, 2 * bad
    while bad - good > max(1, good // 100):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle) else (good, middle)
    return good


def _misses(step: Callable[[int], object], trial: Schedule, clock: Clock) -> int:
    record = Record(trial)
    pace(step, record, clock)
    return record.late + trial.count - record.done


class NoRoomError(EdgeError):
    """So many streams would take more memory than there is."""


class Bounded:
    """Makes streams as another does, but by twofold at most, and none that memory has no room for.

    What the last streams took says what the next will take; where the system hides its memory,
    nothing is refused.

    Args:
        grow: makes them.
        look: the memory that this process holds, and that which it may still take, in MiB; None: as
            the system says.

    Attributes:
        is_full: whether some were refused.
    """

    def __init__(self, grow: Grow, look: Look | None = None) -> None:
        self._grow, self._look = grow, look or look_at_memory
        self._made, self._each, self.is_full = 0, 0.0, False
        self._spare = _SPARE * (self._look()[1] or 0.0)

    def __call__(self, count: int) -> Callable[[int], object]:
        """As `Grow`; raises `NoRoomError`."""
        while self._made < count:
            wanted = min(count, max(1, 2 * self._made))
            held, free = self._look()
            # One stream or two say too little of thousands.
            most = count if self._made >= _ENOUGH else wanted
            need = (most - self._made) * self._each
            if free is not None and need > free - self._spare:
                self.is_full = True
                raise NoRoomError(
                    f"`streams`: {most} would take {need:.0f} MiB more than {self._made} do, of "
                    f"{free:.0f} that are free: take fewer; sessions of a pool are smaller (--pool)"
                )
            self._grow(wanted)
            now = self._look()[0]
            if held is not None and now is not None:
                self._each = max(0.0, now - held) / (wanted - self._made)
            self._made = wanted
        self._made = count
        return self._grow(count)


def look_at_memory(root: Path = Path("/")) -> tuple[float | None, float | None]:
    """The memory that this process holds, and that which it may still take, in MiB.

    That is what the system can give without swapping, or less where the limit of a container or of
    the process's address space (`ulimit -v`) is nearer.
    """
    free = [_available(root / "proc/meminfo"), _left(root / "sys/fs/cgroup"), _unmapped(root)]
    return resident_mib(root), min((one for one in free if one is not None), default=None)


def _available(path: Path) -> float | None:
    try:
        lines = path.read_text().splitlines()
        return next(int(one.split()[1]) / 2**10 for one in lines if one.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _left(folder: Path) -> float | None:
    """Of a container, by control groups version 2."""
    try:
        most, taken = ((folder / f"memory.{one}").read_text() for one in ("max", "current"))
        return (int(most) - int(taken)) / 2**20
    except (OSError, ValueError):
        return None


def _unmapped(root: Path) -> float | None:
    try:
        from resource import RLIM_INFINITY, RLIMIT_AS, getrlimit

        most, pages = getrlimit(RLIMIT_AS)[0], (root / "proc/self/statm").read_text().split()[0]
    except (ImportError, OSError):
        return None
    used = int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None if most == RLIM_INFINITY else (most - used) / 2**20
