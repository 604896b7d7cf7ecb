"""Results of `check`, `selftest` and `realtime`. Units are in the names."""

from collections.abc import Mapping
from dataclasses import dataclass

from kgated_edge.evaluation.metrics import Quality
from kgated_edge.measure.latency import Histogram, Spread, Timeline
from kgated_edge.measure.monitor import Reading


@dataclass(frozen=True)
class SelftestResult:
    """How far the device's outputs are from the golden outputs.

    Attributes:
        golden_frames: golden frames replayed, in order, from zero state.
        golden_max_abs_error: largest absolute difference, in units of the output.
        golden_tolerance: the largest difference allowed.
        passed: whether the difference is within it.
        failures: a sentence per limit missed.
        engine: what ran the model, "litert" or "native".
    """

    golden_frames: int
    golden_max_abs_error: float
    golden_tolerance: float
    passed: bool
    failures: tuple[str, ...]
    engine: str = "litert"


@dataclass(frozen=True)
class CheckResult:
    """Measurements of a run over a data set.

    Attributes:
        sequences: sequences run.
        steps: steps run, without padding.
        num_threads: threads of the interpreter.
        model_bytes: size of the `.tflite` file.
        accuracy: fraction of correct decisions, see `Quality`, or None.
        min_accuracy: the limit on it, or None.
        quality: the metrics of the task, or None without targets.
        labels: a name per class, from the manifest, or None.
        float_figures: metrics of the float model, from the manifest.
        golden_max_abs_error, golden_tolerance, golden_ok: see `SelftestResult`.
        latency_us_p50, ..._p90, ..._p99, ..._max, ..._mean: time of one step.
        latency_histogram: the same times in logarithmic bins.
        latency_timeline: the same times in order.
        deadline_ms: the limit on one step, or None.
        deadline_misses: steps that exceeded it, or None without a deadline.
        max_misses: how many are allowed.
        sample_period_s: time between two frames, from the manifest, or None.
        real_time_factor: mean step time / time between two steps; below 1 is faster than real time.
            With a pool the time is that per session.
        pool_sessions: how many sequences ran side by side as sessions of a pool, at most; a step
            then takes until the call for all of them ends; None without a pool.
        us_per_session: mean time of such a call / sessions in it; None without a pool.
        engine: what ran the model, "litert" or "native".
        peak_memory_mib: peak resident memory of the process, None where unknown.
        passed: whether all limits were met.
        failures: a sentence per limit missed.
        warnings: a sentence where results hold NaN or inf, and one where they are no better than
            one constant answer.
    """

    sequences: int
    steps: int
    num_threads: int
    model_bytes: int
    accuracy: float | None
    min_accuracy: float | None
    quality: Quality | None
    labels: tuple[str, ...] | None
    float_figures: Mapping[str, float]
    golden_max_abs_error: float
    golden_tolerance: float
    golden_ok: bool
    latency_us_p50: float
    latency_us_p90: float
    latency_us_p99: float
    latency_us_max: float
    latency_us_mean: float
    latency_histogram: Histogram
    latency_timeline: Timeline
    deadline_ms: float | None
    deadline_misses: int | None
    max_misses: int
    sample_period_s: float | None
    real_time_factor: float | None
    peak_memory_mib: float | None
    passed: bool
    failures: tuple[str, ...]
    pool_sessions: int | None = None
    us_per_session: float | None = None
    engine: str = "litert"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RealtimeResult:
    """Measurements of a run on a schedule. With several streams a step runs one frame of each.

    Attributes:
        streams: models, or sessions of a pool, that ran a frame each in every period.
        memory_bound: whether memory limited their number rather than the deadline.
        pool: whether they were sessions of a pool.
        workers: processes that shared the sessions.
        batches: of a pool of LiteRT: for how many sessions at once the file has signatures.
        engine: what ran the model, "litert" or "native".
        period_ms: time between two arrivals.
        deadline_ms: longest time from a frame's arrival to the end of its step.
        steps: frames scheduled.
        steps_run: steps that ended; fewer when interrupted, or too late to catch up.
        deadline_misses: steps that ended late, and those given up as too late; in an interrupted
            run only the late ones.
        max_misses: how many are allowed.
        worst_lateness_us: how long after its deadline the latest step ended, or 0.
        start_delay: from a frame's arrival to the start of its step; its std and p99 are jitter.
        compute: from the start of a step to its end.
        completion: from a frame's arrival to the end of its step.
        timeline: the completions in order.
        real_time_factor: mean of compute / period; below 1 is faster than real time.
        duration_s: from the wait for the first arrival to the end of the last step.
        cpu_time_s: CPU time of the process in it, including polling.
        start, end: readings of the system before and after.
        max_temperature_c, min_frequency_mhz: of all readings, one per second; None where hidden.
        throttled: whether the system throttled a CPU during the run; None where hidden.
        load: busy background processes.
        priority, cpu, lock_memory, spin: the host settings.
        num_threads: threads of the interpreter.
        interrupted: whether a signal ended the run.
        passed: whether all limits were met and the run was complete.
        failures: a sentence per limit missed, and one for an interrupt.
    """

    streams: int
    memory_bound: bool
    pool: bool
    period_ms: float
    deadline_ms: float
    steps: int
    steps_run: int
    deadline_misses: int
    max_misses: int
    worst_lateness_us: float
    start_delay: Spread
    compute: Spread
    completion: Spread
    timeline: Timeline
    real_time_factor: float
    duration_s: float
    cpu_time_s: float
    start: Reading
    end: Reading
    max_temperature_c: float | None
    min_frequency_mhz: float | None
    throttled: bool | None
    load: int
    priority: int | None
    cpu: int | None
    lock_memory: bool
    spin: bool
    num_threads: int
    interrupted: bool
    passed: bool
    failures: tuple[str, ...]
    workers: int = 1
    batches: tuple[int, ...] = ()
    engine: str = "litert"
