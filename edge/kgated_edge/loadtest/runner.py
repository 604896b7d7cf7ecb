"""Does a model hold real time on this device? Frames arrive on a schedule, each has a deadline."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.results import RealtimeResult
from kgated_edge.evaluation.tasks import check_fit
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.loadtest.capacity import Bounded, Grow, carried
from kgated_edge.loadtest.host import granted, neighbours
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.scheduler import Clock, Record, pace
from kgated_edge.measure.latency import spread, timeline
from kgated_edge.measure.monitor import Sensors
from kgated_edge.runtime.batching import split_steps
from kgated_edge.runtime.session_pool import Session, SessionPool
from kgated_edge.runtime.stream_model import EdgeModel

_WARM_UP_STEPS = 200
_ASKED = ("pool", "max_misses", "load", "priority", "cpu", "lock_memory", "spin", "num_threads")


def realtime(
    path: str | Path,
    data: str | Path | SequenceData,
    plan: Plan,
    clock: Clock | None = None,
    keep: Callable[[Record], object] = lambda record: None,
) -> RealtimeResult:
    """Runs a streaming model on frames that arrive on an absolute schedule.

    The sequences follow one another as one endless stream, which begins again at its end. The
    cyclic garbage collector rests during the run. SIGINT ends it, and the result is of the steps so
    far.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        data: an `.npz` file, or sequences.
        plan: the schedule, the limits, what runs beside it.
        clock: the time; None for the system's.
        keep: takes what became of each step, after the run.

    Raises:
        ManifestError: the file cannot be run, or is one of whole sequences.
        DataError: the data are bad, or do not fit the model.
        EdgeError: no period is known, the machine refuses what is asked of it, or so many streams
            take more memory than there is.
    """
    clock = clock or (Clock(sleep=lambda seconds: None) if plan.spin else Clock())
    # All input is looked at before an interpreter exists: it writes lines of its own to stderr.
    manifest = read_manifest(path)
    schedule = plan.schedule(manifest)
    frames = _frames(manifest, data, schedule.count)
    with neighbours(plan.load), granted(plan.priority, plan.cpu, plan.lock_memory), _undisturbed():
        make = _pooled if plan.pool else _cloned
        grow = Bounded(make(path, plan, frames))
        streams = plan.streams or max(1, carried(grow, schedule, plan.max_misses, clock))
        step = grow(streams)
        for n in range(max(2, _WARM_UP_STEPS // streams)):
            step(n)
        record = Record(schedule)
        result = _run(step, record, streams, grow.is_full, plan, clock)
        keep(record)
        return result


def round_of(models: Sequence[EdgeModel], frames: Sequence[Any]) -> Callable[[int], None]:
    """The function that gives every model the frame of a number; they begin again at the end."""
    steps, count = [model.step for model in models], len(frames)

    def take(n: int) -> None:
        frame = frames[n % count]
        for step in steps:
            step(frame)

    return take


def _frames(manifest: Manifest, data: str | Path | SequenceData, most: int) -> list[Any]:
    """What each step takes, as many as there are or can be used."""
    if isinstance(data, SequenceData):
        check_fit(manifest, data)
    else:
        names = [frame.name for frame in manifest.frames]
        path, data = data, load_npz(data, names if len(names) > 1 else ())
        try:
            check_fit(manifest, data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    found: list[Any] = []
    for n in range(len(data)):
        found += split_steps(manifest.frames, manifest.frames_per_step, data.sequence(n))
        if len(found) >= most:
            break
    return found


def _cloned(path: str | Path, plan: Plan, frames: list[Any]) -> Grow:
    """Streams that are models, clones of one."""
    models = [EdgeModel(path, plan.num_threads)]

    def grow(count: int) -> Callable[[int], object]:
        models[count:] = [models[0].clone() for _ in range(count - len(models))]
        return round_of(models, frames)

    return grow


def _pooled(path: str | Path, plan: Plan, frames: list[Any]) -> Grow:
    """Streams that are sessions of a pool."""
    pool, sessions = SessionPool(path, plan.num_threads), list[Session]()

    def grow(count: int) -> Callable[[int], object]:
        sessions[count:] = [pool.open() for _ in range(count - len(sessions))]
        return lambda n: pool.step(sessions, _repeated(frames[n % len(frames)], count))

    return grow


def _repeated(frame: Any, count: int) -> Any:
    """A frame for each session, all the same."""
    if isinstance(frame, Mapping):
        return {name: _repeated(one, count) for name, one in frame.items()}
    return np.repeat(np.asarray(frame)[None], count, axis=0)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps the garbage collector from stopping a step."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _run(
    step: Callable[[int], object],
    record: Record,
    streams: int,
    memory_bound: bool,
    plan: Plan,
    clock: Clock,
) -> RealtimeResult:
    schedule, sensors = record.schedule, Sensors(clock.now)
    sensors.look()
    interrupted, began, cpu = False, clock.now(), time.process_time()
    try:
        pace(step, record, clock, sensors.look_between)
    except KeyboardInterrupt:
        if not record.done:
            raise
        interrupted = True
    duration, cpu = clock.now() - began, time.process_time() - cpu
    sensors.look()
    misses = record.late + (0 if interrupted else schedule.count - record.done)
    failures, asked = _failures(record, misses, plan.max_misses, interrupted), asdict(plan)
    return RealtimeResult(
        streams=streams,
        memory_bound=memory_bound,
        **_times(record),
        deadline_misses=misses,
        duration_s=duration / 1e9,
        cpu_time_s=cpu,
        start=sensors.readings[0],
        end=sensors.readings[-1],
        max_temperature_c=sensors.max_temperature_c,
        min_frequency_mhz=sensors.min_frequency_mhz,
        throttled=sensors.throttled,
        **{name: asked[name] for name in _ASKED},
        interrupted=interrupted,
        passed=not failures,
        failures=failures,
    )


def _times(record: Record) -> dict[str, Any]:
    schedule, done, completion = record.schedule, record.done, record.completion_ns
    compute = spread(record.compute_ns[:done])
    return {
        "period_ms": schedule.period_ns / 1e6,
        "deadline_ms": schedule.deadline_ns / 1e6,
        "steps": schedule.count,
        "steps_run": done,
        "worst_lateness_us": max(0, int(completion.max()) - schedule.deadline_ns) / 1e3,
        "start_delay": spread(record.start_delay_ns[:done]),
        "compute": compute,
        "completion": spread(completion),
        "timeline": timeline(completion),
        "real_time_factor": compute.mean_us * 1e3 / schedule.period_ns,
    }


def _failures(record: Record, misses: int, allowed: int, interrupted: bool) -> tuple[str, ...]:
    schedule, found = record.schedule, []
    if misses > allowed:
        due = record.done if interrupted else schedule.count
        found.append(
            f"{misses} of {due} steps missed their deadline of {schedule.deadline_ns / 1e6:g} ms, "
            f"allowed are {allowed}"
        )
    if interrupted:
        found.append(f"interrupted after {record.done} of {schedule.count} steps")
    return tuple(found)
