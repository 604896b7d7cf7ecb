"""The page on a model in the field, from what `kgated-edge live --monitor` wrote."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from kgated.pages.render import plot_html, plotly_script
from kgated.optional_imports import from_extra

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MAX_FEATURES = 7  # drawn alone, those with the largest values
_COUNTS = ("late_steps", "held_frames", "skipped_frames", "bad_lines")
_NUMBERS = ("step", "steps", *_COUNTS)
_STYLE = (
    "body{margin:0 auto;max-width:1000px;padding:24px 16px;background:#fff;color:#222;"
    "font:16px/1.5 system-ui,sans-serif}h2{font-size:1.1rem}.soft{color:#5c5c5c;font-size:.875rem}"
)


@dataclass(frozen=True)
class FieldLog:
    """One file of reports.

    Attributes:
        name: of the file.
        lines: its reports in order.
    """

    name: str
    lines: Sequence[dict[str, Any]]


def read_field_log(path: str | Path) -> FieldLog:
    """Reads a file of `live --monitor`.

    Raises:
        ValueError: a line that is no report, or no line at all.
        OSError: the file cannot be read.
    """
    lines = []
    content = Path(path).read_text(encoding="utf-8", errors="replace")
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not all(type(line.get(n)) is int for n in _NUMBERS):
            raise ValueError(
                f"{path}: line {number} is no report of `kgated-edge live --monitor`: "
                "give a file that it wrote"
            )
        lines.append(line)
    if not lines:
        raise ValueError(f"{path}: there is no report in it yet: let the model run longer")
    return FieldLog(Path(path).name, lines)


def render_field(logs: Sequence[FieldLog], title: str) -> str:
    """The page as text: one HTML file that needs no network.

    Raises:
        ImportError: plotly, of the extra `report`, is missing.
    """
    script = plotly_script()
    head = f"<meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    body = "".join(_section(log, n) for n, log in enumerate(logs))
    return (
        f"<!doctype html><html lang=en><head>{head}<script>{script}</script></head>"
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    )


def _section(log: FieldLog, number: int) -> str:
    last = log.lines[-1]
    counts = ", ".join(f"{name.replace('_', ' ')} {last[name]}" for name in _COUNTS)
    figures = [
        ("drift_psi", "drift: population stability index by feature", 0.25),
        ("outside_share", "share of frames outside of the range by feature", None),
        ("confidence_mean", "confidence, mean", None),
        ("state_norm", "norm of the state", None),
        ("state_saturated_share", "share of saturated state values", None),
    ]
    parts = [
        f"<h2>{escape(text)}</h2>{_picture(log, name, limit, f'{name}-{number}')}"
        for name, text, limit in figures
        if any(line.get(name) is not None for line in log.lines)
    ]
    return (
        f"<h2>{escape(log.name)}</h2><p class=soft>{len(log.lines)} reports, "
        f"{sum(line['steps'] for line in log.lines)} steps; {counts}</p>{''.join(parts)}"
    )


def _picture(log: FieldLog, name: str, limit: float | None, place: str) -> str:
    figure = from_extra("plotly.graph_objects", "report").Figure()
    x = [line.get("time") for line in log.lines]
    for n, (label, values) in enumerate(_series(log, name)):
        colour = _COLOURS[n % len(_COLOURS)]
        figure.add_scatter(x=x, y=values, name=label, mode="lines", line={"color": colour})
    if limit is not None:
        figure.add_hline(y=limit, line={"color": "#b00020", "dash": "dot"})
    figure.update_layout(
        template="none",
        margin={"l": 48, "r": 8, "t": 8, "b": 32},
        yaxis={"rangemode": "tozero", "gridcolor": "#e5e5e5"},
    )
    return plot_html(figure, place, "280px")


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
