"""`kgated tune`: how scores become events, chosen on long recordings and kept in the file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kgated_cli import checks, event_options, signature_options
from kgated_cli.app import app
from kgated_cli.light import import_light

if TYPE_CHECKING:
    from kgated_edge.format.verified_file import ModelPath


@app.command()
def tune(
    model: event_options.EventModelFile,
    recordings: event_options.Recordings,
    labels: event_options.EventLabels = None,
    max_false_accepts_per_hour: event_options.MaxFalseAccepts = 1.0,
    keep_misses: event_options.KeepMisses = False,
    false_alarms_per_day: event_options.FalseAlarms = None,
    score: event_options.Score = None,
    smoothing_s: event_options.SmoothingTimes = None,
    min_duration_s: event_options.MinDuration = 0.0,
    refractory_s: event_options.RefractoryTime = 0.5,
    collar_s: event_options.Collar = 0.5,
    period_ms: event_options.FramePeriod = None,
    columns: event_options.Columns = None,
    time_column: event_options.TimeColumn = None,
    on_bad_frame: event_options.OnBadFrame = "refuse",
    rate: event_options.SoundRate = None,
    window: event_options.FrameSamples = None,
    hop: event_options.HopSamples = None,
    low_hz: event_options.LowHz = None,
    high_hz: event_options.HighHz = None,
    page: event_options.TradeOffPage = None,
    dry_run: event_options.DryRun = False,
    require_key: signature_options.RequireKey = None,
    version_file: signature_options.VersionFile = None,
) -> None:
    """Choose smoothing and thresholds on labelled recordings, and write them into the file."""
    _check_files(model, labels, page, false_alarms_per_day)
    file = signature_options.open_signed(model, require_key, version_file)
    sound = {"rate": rate, "window": window, "hop": hop, "low_hz": low_hz, "high_hz": high_hz}
    lines = {"columns": columns, "time_column": time_column, "on_bad_frame": on_bad_frame}
    facts: dict[str, Any] = {"min_duration_s": min_duration_s, "refractory_s": refractory_s}
    facts |= {"sample_period_s": checks.seconds_of("--period-ms", period_ms), "score": score}
    facts["options"] = _block_options(recordings, sound | lines)
    if false_alarms_per_day is not None:
        settings = _tune_alarms(file, recordings, false_alarms_per_day, smoothing_s, facts, page)
    else:
        facts |= {"collar_s": collar_s, "max_false_accepts_per_hour": max_false_accepts_per_hour}
        facts |= {"keep_misses": keep_misses}
        settings = _tune_events(file, recordings, labels, smoothing_s, facts, page)
    _write_settings(file, settings, dry_run)


def _check_files(
    model: Path, labels: Path | None, page: Path | None, false_alarms_per_day: float | None
) -> None:
    checks.check_outputs([page], [model, labels])
    if (labels is None) == (false_alarms_per_day is None):
        raise ValueError("give LABELS, or --false-alarms-per-day for normal recordings: one of two")
    if page is not None:
        # A missing package would otherwise end the command after the search, without its settings.
        import_light("kgated.optional_imports").require_report()


def _write_settings(model: "ModelPath", settings: Any, dry_run: bool) -> None:
    if dry_run:
        return
    import_light("kgated.tuning").write_section(model, "events", settings.to_plain())
    typer.echo(f"{model}: the settings are in its manifest")


def _block_options(recordings: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `live_blocks`, checked against the formats of the recordings."""
    from kgated_edge.ingest.reading import Reading, check_labelled
    from kgated_edge.ingest.sources import form_of
    from kgated_edge.recordings.reader import list_recordings

    reading = Reading(**values)
    check_labelled(reading, {form_of(path) for path in list_recordings(recordings)})
    return reading.block_options()


def _check_alarm_options(page: Path | None, times: list[float]) -> None:
    if page is not None:
        raise ValueError("--page is for labelled recordings: leave it out")
    if len(times) > 1:
        raise ValueError("--false-alarms-per-day takes one --smoothing-s: leave others out")


def _tune_alarms(
    model: "ModelPath",
    recordings: Path,
    per_day: float,
    times: list[float] | None,
    facts: dict[str, Any],
    page: Path | None,
) -> Any:
    """The settings of an anomaly detector."""
    _check_alarm_options(page, times or [])
    facts = facts | {"score": facts["score"] or "prediction"}
    tune_alarms = import_light("kgated.tuning").tune_alarms
    alarms = tune_alarms(model, recordings, per_day, smoothing_s=(times or [0.0])[0], **facts)
    _show_alarms(alarms)
    return alarms.settings


def _tune_events(
    model: "ModelPath",
    recordings: Path,
    labels: Path | None,
    times: list[float] | None,
    facts: dict[str, Any],
    page: Path | None,
) -> Any:
    """The settings chosen on labelled recordings."""
    if times:
        facts = facts | {"smoothing_s": tuple(times)}
    tuned = import_light("kgated.tuning").tune(model, recordings, labels, **facts)
    _show(tuned)
    if page is not None:
        _write_page(page, tuned, Path(model))
    return tuned.settings


def _write_page(page: Path, tuned: Any, model: Path) -> None:
    text = import_light("kgated.tuning.page").render(tuned, f"{model.name}: events")
    import_light("kgated.atomic_write").replace_file(page, text.encode())
    typer.echo(f"{page}: the trade-off")


def _show(tuned: Any) -> None:
    from kgated_edge.cli.event_text import metric_rows, smoothing_text
    from kgated_edge.cli.text import lines_of

    settings = tuned.settings
    levels = ", ".join(f"{name} {t.on:.4g}" for name, t in settings.classes.items())
    typer.echo(
        lines_of([("smoothing", smoothing_text(settings)), ("on", levels)])
        + "\n\nraw decisions\n"
        + lines_of(metric_rows(tuned.before))
        + "\n\nchosen settings, on the same recordings\n"
        + lines_of(metric_rows(tuned.after))
    )


def _show_alarms(alarms: Any) -> None:
    (threshold,) = alarms.settings.classes.values()
    source = "extrapolated from the tail of the errors" if alarms.extrapolated else "counted"
    typer.echo(
        f"threshold {threshold.on:.6g} for {alarms.false_alarms_per_day:g} false alarms a day, "
        f"{source}; {alarms.alarms} alarms in the {alarms.hours:.3g} hours of the recordings"
    )
