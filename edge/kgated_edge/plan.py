"""How a run in real time is to go."""

import math
from dataclasses import dataclass

from kgated_edge.errors import EdgeError
from kgated_edge.manifest import Manifest
from kgated_edge.pacing import Schedule

_MOST_STEPS = 100_000_000


@dataclass(frozen=True)
class Plan:
    """How a run is to go.

    Attributes:
        period_ms: time between two arrivals; None for that of the model's manifest.
        deadline_ms: from a frame's arrival to the end of its step, at most; None for the period.
        seconds: for how long frames arrive.
        streams: models that take a frame each in every period; None for as many as can be carried,
            found by trials.
        pool: whether the streams are sessions of a `SessionPool`; clones of a model otherwise.
        load: busy processes beside it.
        priority: real-time priority, 1..99, or None.
        cpu: the CPU to run on, or None.
        lock_memory: whether memory is kept from being swapped out.
        spin: whether the clock is watched between frames, which keeps a CPU busy and its caches
            warm, in place of sleeping.
        max_misses: deadlines allowed to miss, in the run and in each trial.
        num_threads: threads of each interpreter.

    Raises:
        EdgeError: a value outside its range.
    """

    period_ms: float | None = None
    deadline_ms: float | None = None
    seconds: float = 60.0
    streams: int | None = 1
    pool: bool = False
    load: int = 0
    priority: int | None = None
    cpu: int | None = None
    lock_memory: bool = False
    spin: bool = False
    max_misses: int = 0
    num_threads: int = 1

    def __post_init__(self) -> None:
        for name in ("period_ms", "deadline_ms", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise EdgeError(f"`{name}` must be above 0, got {value}")
        for name, least in (("streams", 1), ("load", 0), ("cpu", 0), ("max_misses", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise EdgeError(f"`{name}` must be at least {least}, got {value}")
        if self.priority is not None and not 1 <= self.priority <= 99:
            raise EdgeError(f"`priority` must be in 1..99, got {self.priority}")
        if self.spin and self.priority is not None:
            raise EdgeError(
                "`spin` and `priority` exclude each other, since the kernel pauses a real-time "
                "process that never sleeps: leave one of the two out"
            )

    def schedule(self, manifest: Manifest) -> Schedule:
        """When the frames of a model arrive.

        Raises:
            EdgeError: neither the plan nor the model has a period, or it makes too many steps.
        """
        period_ms = self.period_ms
        if period_ms is None:
            if manifest.sample_period_s is None:
                raise EdgeError("the model has no sample period: give `period_ms` (--period-ms)")
            period_ms = manifest.sample_period_s * manifest.frames_per_step * 1e3
        period = round(period_ms * 1e6)
        if period < 1000 or self.seconds * 1e9 / period > _MOST_STEPS:
            raise EdgeError(
                f"`period_ms` must be at least 0.001, and `seconds` up to {_MOST_STEPS} periods, "
                f"got {period_ms:g} ms and {self.seconds:g} s: change one"
            )
        deadline = period if self.deadline_ms is None else round(self.deadline_ms * 1e6)
        return Schedule(max(1, round(self.seconds * 1e9 / period)), period, deadline)
