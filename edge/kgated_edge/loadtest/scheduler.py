"""Steps on an absolute schedule: when each begins, how long it takes, whether it is in time."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kgated_edge.measure.latency import Nanoseconds

# A sleeping process wakes up to some tens of µs late; the rest of the way it looks at the clock.
SPIN_NS = 200_000
_LEAD_NS = 1_000_000


@dataclass(frozen=True)
class Clock:
    """The time, and a way to let it pass.

    Attributes:
        now: nanoseconds since some moment; never goes back.
        sleep: waits for about this many seconds.
    """

    now: Callable[[], int] = time.perf_counter_ns
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Schedule:
    """Frame n arrives at start + n * period_ns, however late the ones before were.

    Attributes:
        count: frames.
        period_ns: time between two arrivals.
        deadline_ns: time from a frame's arrival to the end of its step, at most.
    """

    count: int
    period_ns: int
    deadline_ns: int


class Record:
    """What became of each frame; the arrays are there, and touched, before the first one.

    Attributes:
        schedule: when the frames arrive.
        start_delay_ns: (count,) from a frame's arrival to the start of its step.
        compute_ns: (count,) from the start of its step to the end.
        done: how many steps have ended; the arrays hold nothing beyond.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.start_delay_ns: Nanoseconds = np.full(schedule.count, 0)
        self.compute_ns: Nanoseconds = np.full(schedule.count, 0)
        self.done = 0

    @property
    def completion_ns(self) -> Nanoseconds:
        """From a frame's arrival to the end of its step, of those that have ended."""
        return self.start_delay_ns[: self.done] + self.compute_ns[: self.done]

    @property
    def late(self) -> int:
        """How many steps ended after their deadline."""
        return int((self.completion_ns > self.schedule.deadline_ns).sum())


def pace(
    step: Callable[[int], object],
    record: Record,
    clock: Clock,
    rest: Callable[[int], object] = lambda spare_ns: None,
) -> None:
    """Runs a step for each frame of the schedule, each when it arrives or as soon as possible.

    A frame that finds another at work waits; none is dropped. The run ends early when it has fallen
    so far behind that no frame left can be in time; the first is run in any case.

    Args:
        step: takes the number of the frame.
        record: where the times go; `done` stays true when an exception ends the run.
        clock: the time.
        rest: called after each step with the time until the next frame, negative when late.
    """
    schedule, now = record.schedule, clock.now
    period, delays, computes = schedule.period_ns, record.start_delay_ns, record.compute_ns
    start = now() + _LEAD_NS
    last_moment = start + (schedule.count - 1) * period + schedule.deadline_ns
    for n in range(schedule.count):
        arrival = start + n * period
        begun = wait_until(arrival, clock)
        if n and begun > last_moment:
            break
        step(n)
        ended = now()
        delays[n] = begun - arrival
        computes[n] = ended - begun
        record.done = n + 1
        rest(arrival + period - ended)


def wait_until(moment: int, clock: Clock) -> int:
    """Sleeps until shortly before a moment, then looks at the clock until it has come.

    Returns:
        the time, at or after `moment`.
    """
    spare = moment - clock.now() - SPIN_NS
    if spare > 0:
        clock.sleep(spare / 1e9)
    while (present := clock.now()) < moment:
        pass
    return present
