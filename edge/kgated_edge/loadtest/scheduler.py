"""Runs steps on an absolute schedule and records their delay, duration and deadline misses."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kgated_edge.measure.latency import Nanoseconds

# A sleeping process wakes up some tens of µs late, so it sleeps less and polls the clock.
SPIN_NS = 200_000
_LEAD_NS = 1_000_000


@dataclass(frozen=True)
class Clock:
    """A clock and a sleep function.

    Attributes:
        now: a monotonic time in nanoseconds.
        sleep: waits for about this many seconds.
    """

    now: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Schedule:
    """Frame n arrives at start + n * period_ns, however late earlier steps were.

    Attributes:
        count: frames.
        period_ns: time between two arrivals.
        deadline_ns: longest time from a frame's arrival to the end of its step.
    """

    count: int
    period_ns: int
    deadline_ns: int


class Record:
    """The times of each step; the arrays are allocated and written to before the first step.

    Attributes:
        schedule: when the frames arrive.
        start_delay_ns: (count,) from a frame's arrival to the start of its step.
        compute_ns: (count,) from the start of its step to the end.
        done: steps that have ended; later entries of the arrays are not valid.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.start_delay_ns: Nanoseconds = np.full(schedule.count, 0)
        self.compute_ns: Nanoseconds = np.full(schedule.count, 0)
        self.done = 0

    @property
    def completion_ns(self) -> Nanoseconds:
        """(done,) from a frame's arrival to the end of its step."""
        return self.start_delay_ns[: self.done] + self.compute_ns[: self.done]

    @property
    def late(self) -> int:
        """How many steps ended after their deadline."""
        return int((self.completion_ns > self.schedule.deadline_ns).sum())


def run_on_schedule(
    step: Callable[[int], object],
    record: Record,
    clock: Clock,
    idle: Callable[[int], object] = lambda spare_ns: None,
) -> None:
    """Runs a step for each frame of the schedule, when it arrives or as soon as possible after.

    A frame that arrives during a step waits; none is dropped. The run ends early when it is so late
    that no remaining frame can meet its deadline; the first frame is always run.

    Args:
        step: takes the index of the frame.
        record: receives the times; `done` stays correct when an exception ends the run.
        clock: the time.
        idle: called after each step with the ns until the next frame, negative when late.
    """
    schedule, now = record.schedule, clock.now
    period, delays, computes = schedule.period_ns, record.start_delay_ns, record.compute_ns
    start = now() + _LEAD_NS
    last_start = start + (schedule.count - 1) * period + schedule.deadline_ns
    for n in range(schedule.count):
        arrival = start + n * period
        started = wait_until(arrival, clock)
        if n and started > last_start:
            break
        step(n)
        ended = now()
        delays[n] = started - arrival
        computes[n] = ended - started
        record.done = n + 1
        idle(arrival + period - ended)


def wait_until(moment: int, clock: Clock) -> int:
    """Sleeps until shortly before a time, then polls the clock.

    Returns:
        the time, at or after `moment`.
    """
    spare = moment - clock.now() - SPIN_NS
    if spare > 0:
        clock.sleep(spare / 1e9)
    while (present := clock.now()) < moment:
        pass
    return present
