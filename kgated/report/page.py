"""The page: one self-contained HTML file that needs no network."""

from collections.abc import Sequence
from importlib.resources import files

from kgated.pages.plotly_figures import plot_html, plotly_script
from kgated.pages.render import render_page
from kgated.report.charts import accuracies, histograms, pareto, swatch, timelines
from kgated.report.read import Run

COLUMNS = (
    "model",
    "device",
    "run",
    "passed",
    "file KiB",
    "accuracy %",
    "p50 µs",
    "p99 µs",
    "max µs",
    "deadline ms",
    "misses",
    "of the period %",
    "memory MiB",
)


def render(runs: Sequence[Run], title: str = "On the device") -> str:
    """The page as text.

    Args:
        runs: one or more results.
        title: the page's heading.

    Raises:
        ImportError: plotly or jinja2, of the extra `report`, is missing.
        ValueError: no runs.
    """
    if not runs:
        raise ValueError("a report must have one result or more, got none: give result files")
    pictures = {
        "times": histograms(runs),
        "timeline": timelines(runs, scheduled=True),
        "steps": timelines(runs, scheduled=False),
        "accuracy": accuracies(runs),
        "pareto": pareto(runs, "time"),
        "sizes": pareto(runs, "size"),
    }
    script = files("kgated.report").joinpath("templates", "table.js").read_text("utf-8")
    return render_page(
        "report/page.html",
        "report",
        title=title,
        runs=runs,
        swatches=[swatch(n) for n in range(len(runs))],
        columns=COLUMNS,
        rows=[_cells(run) for run in runs],
        failed=[run for run in runs if not run.passed],
        pictures={n: plot_html(figure, n) for n, figure in pictures.items() if figure is not None},
        plotly=plotly_script(),
        script=script,
    )


def _cells(run: Run) -> list[tuple[str, str]]:
    """The text and the sort key of each column."""
    period = None if run.real_time_factor is None else 100 * run.real_time_factor
    description = run.command + (f", {run.streams} streams" if run.streams > 1 else "")
    description += f", {run.load} beside" if run.load else ""
    return [
        (run.model, run.model),
        (run.device, run.device),
        (description, description),
        ("yes", "1") if run.passed else ("NO", "0"),
        _number(run.model_bytes / 1024, ".1f"),
        _number(None if run.accuracy is None else 100 * run.accuracy, ".2f"),
        _number(run.p50_us, ".1f"),
        _number(run.p99_us, ".1f"),
        _number(run.max_us, ".1f"),
        _number(run.deadline_ms, "g"),
        _number(run.misses, "d"),
        _number(period, ".3g"),
        _number(run.memory_mib, ".1f"),
    ]


def _number(value: float | None, form: str) -> tuple[str, str]:
    return ("-", "") if value is None else (format(value, form), repr(value))
