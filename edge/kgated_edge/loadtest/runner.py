"""Load test: does a model meet its deadlines when frames arrive on a schedule?"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.results import RealtimeResult
from kgated_edge.evaluation.tasks import check_fit
from kgated_edge.evaluation.text_data import load_for
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.loadtest.capacity import AddStreams, MemoryLimited, OnTrial, find_capacity
from kgated_edge.loadtest.host import background_load, scheduling_and_affinity
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.scheduler import Clock, Record, run_on_schedule
from kgated_edge.measure.latency import spread, timeline
from kgated_edge.measure.monitor import SystemMonitor
from kgated_edge.runtime.batching import split_steps
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.session_pool import Session, SessionPool
from kgated_edge.runtime.stream_model import EdgeModel
from kgated_edge.runtime.worker_pool import WorkerPool

_WARM_UP_STEPS = 200
_SETTINGS = (
    *("pool", "workers", "max_misses", "load", "priority", "cpu", "lock_memory", "spin"),
    *("num_threads", "engine"),
)


def realtime(
    path: ModelPath,
    data: str | Path | SequenceData,
    plan: Plan,
    clock: Clock | None = None,
    keep: Callable[[Record], object] = lambda record: None,
    on_trial: OnTrial = lambda streams, passed: None,
) -> RealtimeResult:
    """Runs a streaming model on frames that arrive on an absolute schedule.

    The sequences are concatenated to one stream, which repeats. The cyclic garbage collector is off
    during the run. SIGINT ends the run, and the result covers the steps so far.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        data: an `.npz` file, or sequences.
        plan: the schedule, the limits, the host settings.
        clock: the time; None for the system's.
        keep: receives the record of all steps after the run.
        on_trial: receives each number of streams that the search tries, and whether it passed.

    Raises:
        ManifestError: the file cannot be run, or is one of whole sequences.
        DataError: the data are bad, or do not fit the model.
        EdgeError: no period is known, the system refuses a setting, or so many streams need more
            memory than is available.
    """
    clock = clock or (Clock(sleep=lambda seconds: None) if plan.spin else Clock())
    # All input is checked before an interpreter exists, since that writes to stderr.
    manifest = read_manifest(path)
    schedule = plan.schedule(manifest)
    frames = _frames(manifest, data, schedule.count)
    with (
        ExitStack() as resources,
        background_load(plan.load),
        scheduling_and_affinity(plan.priority, plan.cpu, plan.lock_memory),
        _without_garbage_collection(),
    ):
        make = _worker_sessions if plan.workers > 1 else _sessions if plan.pool else _clones
        add_streams = MemoryLimited(make(path, plan, frames, resources))
        streams = plan.streams or max(
            1, find_capacity(add_streams, schedule, plan.max_misses, clock, on_trial)
        )
        step = add_streams(streams)
        for n in range(max(2, _WARM_UP_STEPS // streams)):
            step(n)
        record = Record(schedule)
        has_batches = plan.pool and plan.engine == LITERT
        result = _run(step, record, streams, add_streams.is_full, plan, clock)
        result = replace(result, batches=manifest.sessions if has_batches else ())
        keep(record)
        return result


def step_all(models: Sequence[EdgeModel], frames: Sequence[Any]) -> Callable[[int], None]:
    """A function that runs frame n, modulo their count, on every model."""
    steps, count = [model.step for model in models], len(frames)

    def run(n: int) -> None:
        frame = frames[n % count]
        for step in steps:
            step(frame)

    return run


def _frames(manifest: Manifest, data: str | Path | SequenceData, max_steps: int) -> list[Any]:
    """The argument of each step, at most `max_steps`."""
    if isinstance(data, SequenceData):
        check_fit(manifest, data)
    else:
        path, data = data, load_for(manifest, data)
        try:
            check_fit(manifest, data)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    steps: list[Any] = []
    for n in range(len(data)):
        steps += split_steps(manifest.frames, manifest.frames_per_step, data.sequence(n))
        if len(steps) >= max_steps:
            break
    return steps


def _clones(path: ModelPath, plan: Plan, frames: list[Any], _: ExitStack) -> AddStreams:
    """Adds streams that are clones of one model."""
    models = [EdgeModel(path, plan.num_threads, engine=plan.engine)]

    def add_streams(count: int) -> Callable[[int], object]:
        models[count:] = [models[0].clone() for _ in range(count - len(models))]
        return step_all(models, frames)

    return add_streams


def _sessions(path: ModelPath, plan: Plan, frames: list[Any], _: ExitStack) -> AddStreams:
    """Adds streams that are sessions of one pool."""
    pool = SessionPool(path, plan.num_threads, engine=plan.engine)
    sessions = list[Session]()

    def add_streams(count: int) -> Callable[[int], object]:
        sessions[count:] = [pool.open() for _ in range(count - len(sessions))]
        return lambda n: pool.step(sessions, _repeated(frames[n % len(frames)], count))

    return add_streams


def _worker_sessions(
    path: ModelPath, plan: Plan, frames: list[Any], resources: ExitStack
) -> AddStreams:
    """Makes a pool of processes for each number of streams; one process each below that number."""
    pools: list[WorkerPool] = []

    def add_streams(count: int) -> Callable[[int], object]:
        if not pools or pools[0].sessions != count:
            pools.clear()
            resources.close()  # the pool of the number before
            workers = WorkerPool(path, count, min(plan.workers, count), engine=plan.engine)
            pools.append(resources.enter_context(workers))
        return lambda n: pools[0].step(_repeated(frames[n % len(frames)], count))

    return add_streams


def _repeated(frame: Any, count: int) -> Any:
    """The same frame for each session: (count, *frame)."""
    if isinstance(frame, Mapping):
        return {name: _repeated(array, count) for name, array in frame.items()}
    return np.repeat(np.asarray(frame)[None], count, axis=0)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keeps the garbage collector from interrupting a step."""
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
    schedule, monitor = record.schedule, SystemMonitor(clock.now)
    monitor.read()
    interrupted, start, cpu = False, clock.now(), time.process_time()
    try:
        run_on_schedule(step, record, clock, monitor.read_when_idle)
    except KeyboardInterrupt:
        if not record.done:
            raise
        interrupted = True
    duration, cpu = clock.now() - start, time.process_time() - cpu
    monitor.read()
    misses = record.late + (0 if interrupted else schedule.count - record.done)
    failures, settings = _failures(record, misses, plan.max_misses, interrupted), asdict(plan)
    return RealtimeResult(
        streams=streams,
        memory_bound=memory_bound,
        **_times(record),
        deadline_misses=misses,
        duration_s=duration / 1e9,
        cpu_time_s=cpu,
        start=monitor.readings[0],
        end=monitor.readings[-1],
        max_temperature_c=monitor.max_temperature_c,
        min_frequency_mhz=monitor.min_frequency_mhz,
        throttled=monitor.throttled,
        **{name: settings[name] for name in _SETTINGS},
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
    schedule, failures = record.schedule, []
    if misses > allowed:
        due = record.done if interrupted else schedule.count
        failures.append(
            f"{misses} of {due} steps missed their deadline of {schedule.deadline_ns / 1e6:g} ms, "
            f"allowed are {allowed}"
        )
    if interrupted:
        failures.append(f"interrupted after {record.done} of {schedule.count} steps")
    return tuple(failures)
