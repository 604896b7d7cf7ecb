"""Results on events as text for the terminal."""

from kgated_edge.cli.text import Row, lines_of, table_of
from kgated_edge.evaluation.event_metrics import EventMetrics
from kgated_edge.format.event_settings import EventSettings
from kgated_edge.ingest.event_runner import EventsResult
from kgated_edge.recordings.checker import EventCheckResult


def events_text(model: str, result: EventsResult) -> str:
    """An aligned table of a run over events."""
    p50, p99 = result.compute_us_p50, result.compute_us_p99
    times = "-" if p50 is None or p99 is None else f"{p50:.1f} / {p99:.1f} us"
    not_finite = [("steps not finite", str(result.not_finite_steps))]
    return lines_of(
        [
            ("model", model),
            ("engine", result.engine),
            ("ended", result.ended),
            ("steps run", str(result.steps)),
            ("events", str(result.events)),
            ("frames held", str(result.held_frames)),
            *(not_finite if result.not_finite_steps else []),
            ("compute p50 / p99", times),
        ]
    )


def event_check_text(model: str, result: EventCheckResult) -> str:
    """An aligned table of a check of events, and PASS or FAIL with the reasons."""
    rows: list[Row] = [
        ("model", f"{model} ({result.model_bytes / 1024:.1f} KiB)"),
        ("engine", result.engine),
        ("recordings / steps", f"{result.recordings} / {result.steps}"),
        ("smoothing", smoothing_text(result.settings)),
        *metric_rows(result.events),
        ("step p50 / p99", f"{result.latency_us_p50:.1f} / {result.latency_us_p99:.1f} us"),
    ]
    if result.held_frames:
        rows.append(("frames held", str(result.held_frames)))
    if result.deadline_ms is not None:
        late = f"{result.deadline_ms:g} ms, {result.deadline_misses} steps missed"
        rows.append(("deadline", f"{late} (allowed {result.max_misses})"))
    counts = [
        f"  {label}: {c.hits} of {c.reference} hit, {c.false_accepts} false accepts"
        for label, c in result.events.by_class.items()
    ]
    return table_of(rows, result.failures, ["by class", *counts] if counts else [])


def metric_rows(metrics: EventMetrics) -> list[Row]:
    """Misses, false accepts per hour and delay, with their intervals."""
    percent = f"{100 * metrics.confidence:g}%"
    rate, missed = metrics.false_accepts_per_hour_interval, metrics.miss_rate_interval
    miss_rate = "-" if metrics.miss_rate is None else f"{metrics.miss_rate:.4f}"
    delays = (metrics.delay_ms_p50, metrics.delay_ms_p95)
    return [
        ("hours", f"{metrics.hours:.4f}"),
        ("events hit / missed", f"{metrics.hits} / {metrics.misses}"),
        ("miss rate", f"{miss_rate} ({percent}: {missed.low:.4f} to {missed.high:.4f})"),
        ("false accepts", str(metrics.false_accepts)),
        (
            "false accepts per hour",
            f"{metrics.false_accepts_per_hour:.4g} ({percent}: {rate.low:.4g} to {rate.high:.4g})",
        ),
        ("delay p50 / p95", " / ".join("-" if x is None else f"{x:.0f}" for x in delays) + " ms"),
    ]


def smoothing_text(settings: EventSettings) -> str:
    """The settings in a line."""
    return (
        f"{settings.smoothing} {settings.smoothing_s:g} s, at least {settings.min_duration_s:g} s, "
        f"pause {settings.refractory_s:g} s"
    )
