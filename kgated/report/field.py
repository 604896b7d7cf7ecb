"""The page on a model in the field, from what `kgated-edge live --monitor` wrote."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.pages.colours import series_colour
from kgated.pages.plotly_figures import empty_figure, plot_html, plotly_script
from kgated.pages.render import render_page

_MAX_FEATURES = 7  # drawn alone, those with the largest values
_OLD_COUNTS = ("late_steps", "held_frames", "skipped_frames", "bad_lines")
_COUNTS = (*_OLD_COUNTS, "not_finite_steps")
# The field of a report, the heading of its chart, and a limit to mark.
_CHARTS = (
    ("drift_psi", "drift: population stability index by feature", 0.25),
    ("outside_share", "fraction of frames outside of the range by feature", None),
    ("confidence_mean", "confidence, mean", None),
    ("state_norm", "norm of the state", None),
    ("state_saturated_share", "fraction of saturated state values", None),
)
_MAX_COUNT = 1 << 63
_NUMBERS = ("step", "steps", *_OLD_COUNTS)


@dataclass(frozen=True)
class FieldLog:
    """One file of reports.

    Attributes:
        name: of the file.
        lines: its reports in order.
    """

    name: str
    lines: Sequence[dict[str, Any]]


def is_field_log(path: Path) -> bool:
    """Whether a file is for `read_field_log`: one with a report, or else with the suffix `.jsonl`.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_text(encoding="utf-8", errors="replace")
    document = _json(content)
    if isinstance(document, dict) and "command" in document:
        return False  # a result of `check` or `realtime`
    reports = map(_is_report, map(_json, content.splitlines()))
    return path.suffix == ".jsonl" or any(reports)


def read_field_log(path: str | Path) -> FieldLog:
    """Read a file that `kgated-edge live --monitor` wrote.

    Args:
        path: a file with a line of JSON per report.

    Raises:
        ValueError: a line that is no report, or no line at all.
        OSError: the file cannot be read.
    """
    lines = []
    content = Path(path).read_text(encoding="utf-8", errors="replace")
    for number, text in enumerate(content.splitlines(), 1):
        line = _json(text)
        if not _is_report(line):
            raise ValueError(
                f"{path}: line {number} is no report of `kgated-edge live --monitor`: "
                "drop the line if it was cut short, or give a file that it wrote"
            )
        lines.append(line)
    if not lines:
        raise ValueError(f"{path}: there is no report in it yet: let the model run longer")
    return FieldLog(Path(path).name, lines)


def _json(text: str) -> Any:
    """The document in a text, None where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_report(line: Any) -> bool:
    """Whether a line has the fields of a report, each of its kind."""
    if not isinstance(line, dict) or not isinstance(line.get("time"), str):
        return False
    values = [line.get(name) for name, *_ in _CHARTS]
    items = [item for value in values for item in (value if isinstance(value, list) else [value])]
    counts = [*map(line.get, _NUMBERS), *(line.get(name, 0) for name in _COUNTS)]
    return all(type(count) is int and 0 <= count < _MAX_COUNT for count in counts) and all(
        item is None or (type(item) in (int, float) and abs(item) < math.inf) for item in items
    )


def render_field(logs: Sequence[FieldLog], title: str) -> str:
    """The page on field reports as text: one HTML file that needs no network.

    Args:
        logs: from `read_field_log`, one or more.
        title: the heading of the page.

    Raises:
        ImportError: plotly or jinja2, of the extra `report`, is missing.
    """
    return render_page(
        "report/field.html",
        "report",
        title=title,
        logs=[_section(log, n) for n, log in enumerate(logs)],
        plotly=plotly_script(),
    )


def _section(log: FieldLog, number: int) -> dict[str, Any]:
    """The name, a line of counts and the charts of a file, each with its heading."""
    last = log.lines[-1]
    counts = ", ".join(f"{name.replace('_', ' ')} {last.get(name, 0)}" for name in _COUNTS)
    steps = sum(line["steps"] for line in log.lines)
    charts = [
        (heading, _chart(log, name, limit, f"{name}-{number}"))
        for name, heading, limit in _CHARTS
        if any(line.get(name) is not None for line in log.lines)
    ]
    summary = f"{len(log.lines)} reports, {steps} steps; {counts}"
    return {"name": log.name, "summary": summary, "charts": charts}


def _chart(log: FieldLog, name: str, limit: float | None, element_id: str) -> str:
    figure = empty_figure({}, {"rangemode": "tozero"})
    # Room for the first label of the time axis, which holds the date and is hidden where it is cut.
    figure.update_layout(margin={"l": 48})
    x = [line.get("time") for line in log.lines]
    for n, (label, values) in enumerate(_series(log, name)):
        line = {"color": series_colour(n)}
        figure.add_scatter(x=x, y=values, name=label, mode="lines", line=line)
    if limit is not None:
        figure.add_hline(y=limit, line={"color": "#b00020", "dash": "dot"})
    return plot_html(figure, element_id, "280px")


def _series(log: FieldLog, name: str) -> list[tuple[str, list[Any]]]:
    """(label, a value per report); of many features those with the largest values."""
    values = [line.get(name) for line in log.lines]
    features = max((len(v) for v in values if isinstance(v, list)), default=0)
    if not features:
        return [(name, values)]
    columns = [
        [v[k] if isinstance(v, list) and k < len(v) else None for v in values]
        for k in range(features)
    ]
    largest = [max((x for x in column if x is not None), default=0.0) for column in columns]
    shown = sorted(range(features), key=lambda k: -largest[k])[:_MAX_FEATURES]
    return [(f"feature {k}", columns[k]) for k in sorted(shown)]
