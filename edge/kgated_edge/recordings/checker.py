"""Checks a model file against limits on its events: misses, false accepts per hour, delay."""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.event_matching import COLLAR_S
from kgated_edge.evaluation.event_metrics import EventMetrics, EventScorer
from kgated_edge.evaluation.limits import Limits, override_limits, read_limits
from kgated_edge.events.detector import Event, EventDetector
from kgated_edge.events.stream import detector_of
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath, size_of
from kgated_edge.ingest.sources import InputOptions
from kgated_edge.measure import latency
from kgated_edge.measure.monitor import peak_memory_mib
from kgated_edge.recordings.labels import check_labels
from kgated_edge.recordings.reader import Recording, labelled_recordings
from kgated_edge.recordings.runner import scores_of
from kgated_edge.runtime.engines import LITERT
from kgated_edge.runtime.stream_model import EdgeModel

_METRICS = ("false_accepts_per_hour", "miss_rate", "delay_ms_p95")


@dataclass(frozen=True)
class EventCheckResult:
    """Measurements of a run over labelled recordings.

    Attributes:
        recordings: recordings run.
        steps: steps run.
        held_frames: bad frames that were replaced by the last good one.
        model_bytes: size of the `.tflite` file.
        settings: how scores became events.
        collar_s: tolerance of the matching.
        events: misses, false accepts per hour, delay.
        latency_us_p50, ..._p90, ..._p99, ..._max, ..._mean: time of one step of the model.
        deadline_ms, deadline_misses, max_misses: as in `CheckResult`.
        peak_memory_mib: peak resident memory of the process, None where unknown.
        limits: the limits on events, by name.
        passed: whether all limits were met.
        failures: a sentence per limit missed.
        engine: what ran the model, "litert" or "native".
    """

    recordings: int
    steps: int
    held_frames: int
    model_bytes: int
    settings: EventSettings
    collar_s: float
    events: EventMetrics
    latency_us_p50: float
    latency_us_p90: float
    latency_us_p99: float
    latency_us_max: float
    latency_us_mean: float
    deadline_ms: float | None
    deadline_misses: int | None
    max_misses: int
    peak_memory_mib: float | None
    limits: Mapping[str, float]
    passed: bool
    failures: tuple[str, ...]
    engine: str = LITERT


def check_events(
    path: ModelPath,
    recordings: str | Path,
    labels: str | Path,
    *,
    limits: str | Path | Limits | None = None,
    settings: EventSettings | None = None,
    collar_s: float = COLLAR_S,
    sample_period_s: float | None = None,
    num_threads: int = 1,
    engine: str = LITERT,
    options: Mapping[str, Any] | None = None,
    **overrides: Any,
) -> EventCheckResult:
    """Runs a model over labelled recordings and measures its events.

    Args:
        path: a `.tflite` file made by `kgated convert`.
        recordings: a folder of recordings (.wav, .csv, .npy, .npz), or one.
        labels: their events, as in `read_labels`.
        limits: a TOML file of limits, or `Limits`.
        settings: by default those of the manifest.
        collar_s: tolerance of the matching in seconds, see `match_events`.
        sample_period_s: by default that of the manifest.
        num_threads: threads of the interpreter.
        engine: "litert" or "native", as of `EdgeModel`.
        options: arguments of `live_blocks`; `options`, an `InputOptions`, names columns of CSV and
            what happens to bad frames.
        overrides: fields of `Limits` that override `limits` where they are not None.

    Raises:
        ManifestError: the file cannot be run.
        DataError: recordings or labels that cannot be read or do not fit.
        EdgeError: a limit on a metric that this run does not have, or that is out of range.
    """
    limits = _limits_of(limits, overrides)
    labelled = labelled_recordings(recordings, labels)
    detector = detector_of(read_manifest(path), settings, sample_period_s)
    model, scorer = EdgeModel(path, num_threads, engine=engine), EventScorer(collar_s)
    options = {"options": InputOptions(), **(options or {})}
    times = _run_all(model, labelled, detector, scorer, options)
    metrics, late = _metrics_of(scorer, limits, labels), _late_steps(times, limits)
    values = latency.metrics(times) | {"model_bytes": size_of(path)} | vars(metrics)
    failures = limits.failures(values, {}) + limits.missed_deadlines(late, len(times))
    return EventCheckResult(
        recordings=len(labelled),
        steps=len(times),
        held_frames=options["options"].counts.held_frames,
        model_bytes=size_of(path),
        settings=detector.settings,
        collar_s=collar_s,
        events=metrics,
        **latency.metrics(times),
        **_deadline_metrics(limits, late),
        peak_memory_mib=peak_memory_mib(),
        limits=_event_limits(limits),
        passed=not failures,
        failures=failures,
        engine=engine,
    )


def _deadline_metrics(limits: Limits, late: int | None) -> dict[str, Any]:
    return {
        "deadline_ms": limits.deadline_ms,
        "deadline_misses": late,
        "max_misses": limits.max_misses or 0,
    }


def _event_limits(limits: Limits) -> dict[str, float]:
    return {n: x for n, x in vars(limits).items() if n in EVENT_LIMITS and x is not None}


def _late_steps(times: npt.NDArray[np.int64], limits: Limits) -> int | None:
    """The steps that missed the deadline; None without one."""
    ms = limits.deadline_ms
    return None if ms is None else int((times > ms * 1e6).sum())


EVENT_LIMITS = ("max_false_accepts_per_hour", "max_miss_rate", "max_delay_ms")


def _limits_of(limits: str | Path | Limits | None, overrides: Mapping[str, Any]) -> Limits:
    """The limits of the file and those that override them, checked."""
    if not isinstance(limits, Limits):
        limits = Limits() if limits is None else read_limits(limits)
    limits = override_limits(limits, **overrides)
    _check_limits(limits)
    return limits


def _metrics_of(scorer: EventScorer, limits: Limits, labels: str | Path) -> EventMetrics:
    """The metrics of a run; refuses a limit on misses where there is no event."""
    metrics = scorer.metrics()
    if metrics.reference == 0 and limits.max_miss_rate is not None:
        raise DataError(f"{labels}: there is no event to miss: label some, or drop the limit")
    return metrics


def _check_limits(limits: Limits) -> None:
    for name in sorted(limits.limited_metrics() - set(_METRICS)):
        raise EdgeError(
            f"a limit is on {name}, a run over events has {list(_METRICS)}: drop the limit"
        )
    if limits.max_misses is not None and limits.deadline_ms is None:
        raise EdgeError("`max_misses` needs a deadline: give `deadline_ms` too")


def _run_all(
    model: EdgeModel,
    recordings: Sequence[Recording],
    detector: EventDetector,
    scorer: EventScorer,
    options: Mapping[str, Any],
) -> npt.NDArray[np.int64]:
    """The nanoseconds of each step over all recordings; their events go to the scorer."""
    times = array("q")
    for recording in recordings:
        _run(model, recording, detector, scorer, options, times)
    return np.frombuffer(times, np.int64)


def _run(
    model: EdgeModel,
    recording: Recording,
    detector: EventDetector,
    scorer: EventScorer,
    options: Mapping[str, Any],
    times: "array[int]",
) -> None:
    """Runs one recording, with a detector after its reset."""
    detected: list[Event] = []
    for scores in scores_of(model, recording.path, detector.settings.score, options, times):
        detected += detector.step(scores)
    seconds = detector.steps * detector.step_s
    detected += detector.finish()
    check_labels(recording.events, recording.name, seconds, detector.labels)
    reference = [e for e in recording.events if detector.settings.threshold(e.label) is not None]
    scorer.add(reference, detected, seconds)
