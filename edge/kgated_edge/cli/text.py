"""Results as text for the terminal."""

from collections.abc import Iterable, Sequence

from kgated_edge.evaluation.limits import METRICS
from kgated_edge.evaluation.results import CheckResult, RealtimeResult, SelftestResult
from kgated_edge.ingest.runner import LiveResult
from kgated_edge.measure.latency import Spread

Row = tuple[str, str]
_MAX_COLUMNS, _MAX_MISTAKES, _MAX_LABEL_LENGTH = 16, 10, 20
_HIDDEN = "hidden by the system"
_THROTTLED = {True: "YES", False: "no", None: _HIDDEN}


def check_text(model: str, result: CheckResult) -> str:
    """An aligned table of a check, its warnings, and PASS or FAIL with the reasons."""
    rows: list[Row] = [
        ("model", f"{model} ({result.model_bytes / 1024:.1f} KiB)"),
        ("engine", result.engine),
        ("sequences / steps", f"{result.sequences} / {result.steps}"),
        *_quality_rows(result),
        ("golden outputs", _golden(result.golden_max_abs_error, result.golden_tolerance)),
        ("step p50 / p90 / p99", _microseconds(result)),
        ("step mean / max", f"{result.latency_us_mean:.1f} / {result.latency_us_max:.1f} us"),
        *_pool_rows(result),
        ("deadline", _deadline(result)),
        ("real-time factor", _real_time(result)),
        ("peak memory", _or_dash(result.peak_memory_mib, "{:.1f} MiB")),
        ("threads", str(result.num_threads)),
    ]
    matrix = None if result.quality is None else result.quality.confusion
    more = [] if matrix is None else confusion_lines(matrix, result.labels)
    more += [f"WARNING: {warning}" for warning in result.warnings]
    return table_of(rows, result.failures, more)


def selftest_text(model: str, result: SelftestResult) -> str:
    """An aligned table of a self-test, and PASS or FAIL with the reason."""
    rows = [
        ("model", model),
        ("engine", result.engine),
        ("golden frames", str(result.golden_frames)),
        ("golden outputs", _golden(result.golden_max_abs_error, result.golden_tolerance)),
    ]
    return table_of(rows, result.failures)


def realtime_text(model: str, result: RealtimeResult) -> str:
    """An aligned table of a run on a schedule, and PASS or FAIL with the reason."""
    start, end, delay = result.start, result.end, result.start_delay
    rows = [
        ("model", model),
        ("engine", result.engine),
        ("streams / threads / load", _streams(result)),
        ("period / deadline", f"{result.period_ms:g} / {result.deadline_ms:g} ms"),
        ("steps run", f"{result.steps_run} of {result.steps}"),
        ("deadline misses", f"{result.deadline_misses} (allowed {result.max_misses})"),
        ("worst lateness", f"{result.worst_lateness_us:.1f} us"),
        ("start delay jitter", f"std {delay.std_us:.1f}, p99 {delay.p99_us:.1f} us"),
        ("p50 / p90 / p99 / p99.9 / max", ""),
        ("  start delay", _spread(delay)),
        ("  compute", _spread(result.compute)),
        ("  completion", _spread(result.completion)),
        ("real-time factor", f"{result.real_time_factor:.2e} of the period"),
        ("CPU time", f"{result.cpu_time_s:.2f} s of {result.duration_s:.2f} s"),
        ("memory start / end", _readings("{:.1f} MiB", start.rss_mib, end.rss_mib)),
        (
            "temperature start / end / max",
            _readings("{:.1f} C", start.temperature_c, end.temperature_c, result.max_temperature_c),
        ),
        (
            "CPU clock start / end / min",
            _readings(
                "{:.0f} MHz", start.frequency_mhz, end.frequency_mhz, result.min_frequency_mhz
            ),
        ),
        ("throttled by the system", _THROTTLED[result.throttled]),
    ]
    return table_of(rows, result.failures)


def live_text(model: str, result: LiveResult) -> str:
    """An aligned table of a live run."""
    p50, p99 = result.compute_us_p50, result.compute_us_p99
    rows = [
        ("model", model),
        ("engine", result.engine),
        ("ended", result.ended),
        ("steps run", str(result.steps)),
        ("frames held", str(result.held_frames)),
        *_input_rows(result),
        ("compute p50 / p99", _or_dash(p50, "{:.1f}") + _or_dash(p99, " / {:.1f} us", dash="")),
        ("compute max", _or_dash(result.compute_us_max, "{:.1f} us")),
    ]
    return lines_of(rows)


def _input_rows(result: LiveResult) -> list[Row]:
    """Rows on the defects of the input; rows without a count are left out."""
    counts = {
        "frames skipped": result.skipped_frames,
        "bad lines": result.bad_lines,
        "lines joined": result.joined_lines,
        "late steps": result.late_steps,
        "steps not finite": result.not_finite_steps,
    }
    return [(name, str(count)) for name, count in counts.items() if count]


def _streams(result: RealtimeResult) -> str:
    pooled = f" (in a pool{_together(result)})" if result.pool else ""
    pooled += ", limited by memory" if result.memory_bound else ""
    return f"{result.streams}{pooled} / {result.num_threads} / {result.load}"


def _together(result: RealtimeResult) -> str:
    sizes = ", ".join(map(str, result.batches))
    workers = f" of {result.workers} processes" if result.workers > 1 else ""
    return workers + (f", {sizes} at once" if sizes else "")


def table_of(rows: list[Row], failures: tuple[str, ...], more: Iterable[str] = ()) -> str:
    """Aligned rows, more lines, and PASS or FAIL with the reasons."""
    verdict = [f"FAIL: {reason}" for reason in failures] or ["PASS"]
    return "\n".join([lines_of(rows), *more, *verdict])


def confusion_lines(counts: Sequence[Sequence[int]], labels: Sequence[str] | None) -> list[str]:
    """The confusion matrix, a row per label; with many classes the most frequent mistakes."""
    size = len(counts)
    names = [f"{k} {labels[k]}"[:_MAX_LABEL_LENGTH] if labels else str(k) for k in range(size)]
    if size > _MAX_COLUMNS:
        wrong = [(counts[y][d], y, d) for y in range(size) for d in range(size) if y != d]
        worst = sorted((x for x in wrong if x[0]), key=lambda x: (-x[0], *x[1:]))
        shown = [f"  {names[y]} taken for {names[d]}: {n}" for n, y, d in worst[:_MAX_MISTAKES]]
        return [f"most frequent mistakes, {len(shown)} of {len(worst)} kinds", *shown]
    width = max(len(str(number)) for number in (size - 1, *map(max, counts)))
    margin = max(map(len, names))
    rows = [" ".join(f"{n or '.':>{width}}" for n in row) for row in counts]
    lines = [f"  {name:<{margin}}  {row}" for name, row in zip(names, rows, strict=True)]
    heads = " ".join(f"{k:>{width}}" for k in range(size))
    return [
        "confusion, a row per label, a column per decision",
        f"  {'':{margin}}  {heads}",
        *lines,
    ]


def lines_of(rows: list[Row]) -> str:
    """Rows of names and values, aligned."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def _pool_rows(result: CheckResult) -> list[Row]:
    if result.us_per_session is None:
        return []
    return [("in a pool", f"{result.pool_sessions} at once, {result.us_per_session:.2f} us each")]


def _quality_rows(result: CheckResult) -> list[Row]:
    quality, float_metrics = result.quality, result.float_figures
    if quality is None:
        return [("accuracy", "-")]
    rows = [("task", quality.task)]
    for name in METRICS:
        value, limit = getattr(quality, name), result.min_accuracy if name == "accuracy" else None
        if value is not None:
            text = f"{value:.4f}" + _or_dash(limit, " (at least {:g})", dash="")
            text += _or_dash(float_metrics.get(name), " (float {:.4f})", dash="")
            rows.append((name.replace("_", " "), text))
    for name in ("mae_per_output", "rmse_per_output"):
        if (values := getattr(quality, name)) is not None:
            rows.append((name.replace("_", " "), _first_few(values)))
    if quality.settled_frames_p50 is not None:
        frames = f"{quality.settled_frames_p50} / {quality.settled_frames_p90} frames"
        rows.append(("settled p50 / p90", frames))
    return rows


def _first_few(values: Sequence[float]) -> str:
    more = f" and {len(values) - _MAX_COLUMNS} more" if len(values) > _MAX_COLUMNS else ""
    return " ".join(f"{value:.4g}" for value in values[:_MAX_COLUMNS]) + more


def _golden(error: float, tolerance: float) -> str:
    return f"largest difference {error:.2e} (allowed {tolerance:.2e})"


def _microseconds(result: CheckResult) -> str:
    values = (result.latency_us_p50, result.latency_us_p90, result.latency_us_p99)
    return " / ".join(f"{value:.1f}" for value in values) + " us"


def _deadline(result: CheckResult) -> str:
    if result.deadline_ms is None:
        return "-"
    return (
        f"{result.deadline_ms:g} ms, {result.deadline_misses} of {result.steps} steps missed "
        f"(allowed {result.max_misses})"
    )


def _real_time(result: CheckResult) -> str:
    if result.real_time_factor is None or result.sample_period_s is None:
        return "- (the model has no sample period)"
    return (
        f"{result.real_time_factor:.2e} of a sample period of {result.sample_period_s * 1e3:g} ms"
    )


def _or_dash(value: float | None, form: str, dash: str = "-") -> str:
    return dash if value is None else form.format(value)


def _spread(times: Spread) -> str:
    values = (times.p50_us, times.p90_us, times.p99_us, times.p99_9_us, times.max_us)
    return " / ".join(f"{value:.1f}" for value in values) + " us"


def _readings(form: str, *values: float | None) -> str:
    if None in values:
        return _HIDDEN
    return " / ".join(form.format(value) for value in values)
