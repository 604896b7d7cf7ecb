"""What `check` and `selftest` report. Units are in the names."""

from collections.abc import Mapping
from dataclasses import dataclass

from kgated_edge.evaluation.metrics import Quality
from kgated_edge.measure.latency import Histogram, Spread, Timeline
from kgated_edge.measure.monitor import Reading


@dataclass(frozen=True)
class SelftestResult:
    """How far the device's outputs are from the golden ones.

    Attributes:
        golden_frames: golden frames replayed, in order, from zero state.
        golden_max_abs_error: largest absolute difference, in units of the output.
        golden_tolerance: the largest difference allowed.
        passed: whether it was kept.
        failures: a sentence per limit missed.
    """

    golden_frames: int
    golden_max_abs_error: float
    golden_tolerance: float
    passed: bool
    failures: tuple[str, ...]


@dataclass(frozen=True)
class CheckResult:
    """What one run over a data set measured.

    Attributes:
        sequences: sequences run.
        steps: steps run, padding left out.
        num_threads: threads of the interpreter.
        model_bytes: size of the `.tflite` file.
        accuracy: share of sequences whose largest output at the last step is `y`, or with a label
            per frame the share of steps whose largest output is that of their last frame, or None.
        min_accuracy: the limit on it, or None.
        quality: accuracy and more by the kind of task, or None without `y`.
        labels: a name per class, of the model's manifest, or None.
        float_figures: the same figures of the float model, those that the manifest holds.
        golden_max_abs_error, golden_tolerance, golden_ok: see `SelftestResult`.
        latency_us_p50, ..._p90, ..._p99, ..._max, ..._mean: time of one step.
        latency_histogram: the same times in logarithmic bins.
        latency_timeline: the same times as they followed one another.
        deadline_ms: the limit on one step, or None.
        deadline_misses: steps that took longer, or None without a deadline.
        max_misses: how many are allowed.
        sample_period_s: time between two frames, where the model's manifest has it.
        real_time_factor: mean step time / time between two steps; below 1 is faster than real time.
        peak_memory_mib: the largest memory that the whole process held, None where unknown.
        passed: whether all limits were kept.
        failures: a sentence per limit missed.
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


@dataclass(frozen=True)
class RealtimeResult:
    """What a run on a schedule measured. With several streams a step is one of each, in turn.

    Attributes:
        streams: models, or sessions of a pool, that took a frame each in every period.
        memory_bound: whether memory ended the search for their number, not the deadline.
        pool: whether they were sessions of a pool.
        period_ms: time between two arrivals.
        deadline_ms: from a frame's arrival to the end of its step, at most.
        steps: frames that were to arrive.
        steps_run: those whose step has ended; less when interrupted, or hopelessly late.
        deadline_misses: steps that ended late, and those given up, which could not have been in
            time; of an interrupted run, the late ones.
        max_misses: how many are allowed.
        worst_lateness_us: how long after its deadline the latest step ended, or 0.
        start_delay: from a frame's arrival to the start of its step; its std and p99 are jitter.
        compute: from the start of a step to its end.
        completion: from a frame's arrival to the end of its step.
        timeline: the completions as they followed one another.
        real_time_factor: mean of compute / period; below 1 is faster than real time.
        duration_s: from the first arrival awaited to the last step's end.
        cpu_time_s: CPU time of the process in it, waiting included.
        start, end: readings of the system before and after.
        max_temperature_c, min_frequency_mhz: of all readings, one a second; None where hidden.
        throttled: whether the system slowed a CPU, as for heat, during the run; None where hidden.
        load: busy processes beside it.
        priority, cpu, lock_memory, spin: what was asked of the machine.
        num_threads: threads of the interpreter.
        interrupted: whether it was ended from outside.
        passed: whether all limits were kept, to the end.
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
