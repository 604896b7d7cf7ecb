"""How many streams one core carries: found by running them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from kgated_edge.loadtest.scheduler import Clock, Record, Schedule, pace
from kgated_edge.room import Grow, NoRoomError

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
