"""Configuration of a load test."""

import math
import os
from dataclasses import dataclass, fields

from kgated_edge.errors import EdgeError
from kgated_edge.format.manifest import Manifest
from kgated_edge.loadtest.scheduler import Schedule
from kgated_edge.runtime.engines import LITERT, check_engine

_MAX_STEPS = 100_000_000
_MAX_LOAD_PER_CPU = 16
_NUMBERS = ("period_ms", "deadline_ms", "seconds")
_FLAGS = ("pool", "lock_memory", "spin")
_MINIMA = {"streams": 1, "workers": 1, "load": 0, "cpu": 0, "max_misses": 0}
_OPTIONAL = ("period_ms", "deadline_ms", "streams", "priority", "cpu")


@dataclass(frozen=True)
class Plan:
    """Configuration of a load test.

    Attributes:
        period_ms: time between two arrivals; None for that of the model's manifest.
        deadline_ms: longest time from a frame's arrival to the end of its step; None: the period.
        seconds: for how long frames arrive.
        streams: models that process a frame each in every period; None for as many as meet their
            deadlines, found by trials.
        pool: whether the streams are sessions of a `SessionPool` rather than clones of a model.
        workers: processes that share the sessions of the pool, one per core.
        load: busy background processes, at most 16 per CPU of the machine.
        priority: real-time priority, 1..99, or None.
        cpu: the CPU to run on, or None.
        lock_memory: whether to keep memory from being swapped out.
        spin: whether to busy-wait between frames instead of sleeping; it keeps a CPU busy and its
            caches warm.
        max_misses: missed deadlines allowed, in the run and in each trial.
        num_threads: threads of each interpreter.
        engine: "litert" or "native", as of `EdgeModel`.

    Raises:
        EdgeError: a value of another type, or outside its range.
    """

    period_ms: float | None = None
    deadline_ms: float | None = None
    seconds: float = 60.0
    streams: int | None = 1
    pool: bool = False
    workers: int = 1
    load: int = 0
    priority: int | None = None
    cpu: int | None = None
    lock_memory: bool = False
    spin: bool = False
    max_misses: int = 0
    num_threads: int = 1
    engine: str = LITERT

    def __post_init__(self) -> None:
        check_engine(self.engine)
        for field in fields(self):
            if field.name == "engine":
                continue
            _check_type(field.name, getattr(self, field.name), field.name in _NUMBERS)
        for name in _NUMBERS:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise EdgeError(f"`{name}` must be above 0, got {value}")
        for name, minimum in _MINIMA.items():
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise EdgeError(f"`{name}` must be at least {minimum}, got {value}")
        if self.workers > 1 and not self.pool:
            raise EdgeError("`workers` share the sessions of a pool: give `pool` (--pool) too")
        if self.workers > 1 and self.num_threads > 1:
            raise EdgeError(
                "`workers` and `num_threads` exclude each other, a process for each core has one "
                "thread: leave one of the two out"
            )
        max_load = _MAX_LOAD_PER_CPU * (os.cpu_count() or 1)
        if self.load > max_load:
            raise EdgeError(
                f"`load` must be at most {max_load}, {_MAX_LOAD_PER_CPU} for each CPU, "
                f"got {self.load}: more processes do not make the run harder"
            )
        if self.priority is not None and not 1 <= self.priority <= 99:
            raise EdgeError(f"`priority` must be in 1..99, got {self.priority}")
        if self.spin and self.priority is not None:
            raise EdgeError(
                "`spin` and `priority` exclude each other, since the kernel throttles a real-time "
                "process that never sleeps: leave one of the two out"
            )

    def schedule(self, manifest: Manifest) -> Schedule:
        """When the frames of a model arrive.

        Raises:
            EdgeError: neither the plan nor the model has a period, or there are too many steps.
        """
        period_ms = self.period_ms
        if period_ms is None:
            if manifest.sample_period_s is None:
                raise EdgeError("the model has no sample period: give `period_ms` (--period-ms)")
            period_ms = manifest.sample_period_s * manifest.frames_per_step * 1e3
        period = round(period_ms * 1e6)
        if period < 1000 or self.seconds * 1e9 / period > _MAX_STEPS:
            raise EdgeError(
                f"`period_ms` must be at least 0.001, and `seconds` up to {_MAX_STEPS} periods, "
                f"got {period_ms:g} ms and {self.seconds:g} s: change one"
            )
        deadline = period if self.deadline_ms is None else round(self.deadline_ms * 1e6)
        return Schedule(max(1, round(self.seconds * 1e9 / period)), period, deadline)


def _check_type(name: str, value: object, is_number: bool) -> None:
    if value is None and name in _OPTIONAL:
        return
    kinds: tuple[type, ...] = (bool,) if name in _FLAGS else (int, float) if is_number else (int,)
    # A bool is an integer in Python.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        rule = "True or False" if name in _FLAGS else "a number" if is_number else "an int"
        raise EdgeError(f"`{name}` must be {rule}, got {value!r}")
