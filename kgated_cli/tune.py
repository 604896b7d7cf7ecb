"""`kgated tune`: how scores become events, chosen on long recordings and kept in the file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kgated_cli import checks
from kgated_cli.app import app
from kgated_cli.light import import_light


@app.command()
def tune(
    model: Annotated[Path, typer.Argument(help="A .tflite file of `kgated convert`.")],
    recordings: Annotated[
        Path, typer.Argument(help="A folder of long recordings (.wav, .csv, .npy, .npz), or one.")
    ],
    labels: Annotated[
        Path | None,
        typer.Argument(
            help="Their events: a CSV file with file, start, end, label, or an Audacity label "
            "track (.txt) of the only recording. Not with --false-alarms-per-day."
        ),
    ] = None,
    max_false_accepts_per_hour: Annotated[
        float, typer.Option(help="Of all classes together.")
    ] = 1.0,
    false_alarms_per_day: Annotated[
        float | None,
        typer.Option(help="Of an anomaly detector: recordings are normal, without labels."),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="output: the scores of classes. reconstruction, prediction: the error of an "
            "output that repeats the frame, or predicts the next."
        ),
    ] = None,
    smoothing_s: Annotated[
        list[float] | None, typer.Option(help="A time to try, in seconds; may be given again.")
    ] = None,
    min_duration_s: Annotated[float, typer.Option(help="Shortest event in seconds.")] = 0.0,
    refractory_s: Annotated[
        float, typer.Option(help="Pause after an event of a class, in seconds.")
    ] = 0.5,
    collar_s: Annotated[float, typer.Option(help="Tolerance of the labels in seconds.")] = 0.5,
    period_ms: Annotated[
        float | None, typer.Option(help="Milliseconds between two frames; else the model's.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the trade-off as an .html page here.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Leave the file as it is.")] = False,
) -> None:
    """Choose smoothing and thresholds on labelled recordings, and write them into the file."""
    checks.check_outputs([page], [model, labels])
    checks.check_number("--period-ms", period_ms, 0.0)
    options: dict[str, Any] = {
        "sample_period_s": None if period_ms is None else period_ms / 1e3,
        "min_duration_s": min_duration_s,
        "refractory_s": refractory_s,
    }
    if (labels is None) == (false_alarms_per_day is None):
        raise ValueError("give LABELS, or --false-alarms-per-day for normal recordings: one of two")
    tuning = import_light("kgated.tuning")
    if false_alarms_per_day is not None:
        if page is not None:
            raise ValueError("--page is for labelled recordings: leave it out")
        if smoothing_s is not None and len(smoothing_s) > 1:
            raise ValueError("--false-alarms-per-day takes one --smoothing-s: leave others out")
        alarms = tuning.tune_alarms(
            model,
            recordings,
            false_alarms_per_day,
            score=score or "prediction",
            smoothing_s=smoothing_s[0] if smoothing_s else 0.0,
            **options,
        )
        _show_alarms(alarms)
        settings = alarms.settings
    else:
        found = tuning.tune(
            model,
            recordings,
            labels,
            max_false_accepts_per_hour=max_false_accepts_per_hour,
            score=score,
            collar_s=collar_s,
            **({"smoothing_s": tuple(smoothing_s)} if smoothing_s else {}),
            **options,
        )
        _show(found)
        settings = found.settings
        if page is not None:
            text = import_light("kgated.tuning.page").render(found, f"{model.name}: events")
            import_light("kgated.atomic_write").replace_file(page, text.encode())
            typer.echo(f"{page}: the trade-off")
    if not dry_run:
        tuning.write_section(model, "events", settings.to_plain())
        typer.echo(f"{model}: the settings are in its manifest")


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
