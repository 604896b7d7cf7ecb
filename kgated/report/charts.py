"""The pictures, as Plotly figures that fit the width they are given.

A result has the same line in all of them, which the page's own key names; each of its traces has
its place among the results as `meta`, by which the page's filter finds it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kgated.optional_imports import from_extra
from kgated.report.read import Run

# Okabe & Ito's palette, which colour-blind readers tell apart; the dash changes when it is used up.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_DASHES = ("solid", "3 3", "9 4", "9 3 3 3")  # in px, as SVG has them too
_SYMBOLS = ("circle", "square", "diamond", "triangle-up")
_MISSED = "x"
_DEADLINE = "#b00020"
_POINT = 12
_COSTS: dict[str, tuple[str, Callable[[Run], float]]] = {
    "time": ("p99 time of a step, µs", lambda run: run.p99_us),
    "size": ("size of the file, KiB", lambda run: run.model_bytes / 1024),
}


def histograms(runs: Sequence[Run]) -> Any:
    """Share of steps per bin of time, both logarithmic: one late step of many is seen."""
    figure = _figure("time of a step, µs", "share of steps", log_x=True, log_y=True)
    for n, run in enumerate(runs):
        total = sum(run.counts)
        figure.add_scatter(
            x=run.edges_us,
            y=[count / total if count else None for count in (*run.counts, run.counts[-1])],
            line=_line(n) | {"shape": "hv"},
            connectgaps=False,
            mode="lines+markers",
            marker={"size": 4},
            name=run.name,
            meta=n,
        )
    _mark_deadlines(figure.add_vline, "x", runs)
    return figure


def timelines(runs: Sequence[Run], scheduled: bool) -> Any | None:
    """The longest and the median step of each slice of the run; None where there is no such run.

    Args:
        runs: results.
        scheduled: whether of those on a schedule, over seconds, or of the others, over steps.
    """
    known = [one for one in enumerate(runs) if (one[1].series.period_s is not None) is scheduled]
    if not known:
        return None
    title = "time since the first arrival, s" if scheduled else "step"
    figure = _figure(title, "time of a step, µs", log_y=True)
    for n, run in known:
        series, line = run.series, _line(n)
        size = series.steps_per_slice * (series.period_s or 1)
        starts = [k * size for k in range(len(series.max_us))]
        figure.add_scatter(x=starts, y=series.max_us, line=line, name=run.name, meta=n)
        figure.add_scatter(
            x=starts,
            y=series.p50_us,
            line=line | {"width": 1},
            opacity=0.5,
            name=f"{run.name}, median",
            meta=n,
        )
    _mark_deadlines(figure.add_hline, "y", [run for _, run in known])
    return figure


def accuracies(runs: Sequence[Run]) -> Any | None:
    """Accuracy over frames seen, None where no run has it."""
    known = [(n, run) for n, run in enumerate(runs) if run.accuracy_over_frames]
    if not known:
        return None
    figure = _figure("steps seen", "accuracy, %")
    for n, run in known:
        shares = [100 * share for share in run.accuracy_over_frames]
        steps = list(range(1, len(shares) + 1))
        figure.add_scatter(x=steps, y=shares, line=_line(n), name=run.name, meta=n)
    return figure


def pareto(runs: Sequence[Run], cost: str) -> Any | None:
    """Accuracy against what it costs, and the front; None without accuracies.

    Args:
        runs: results.
        cost: "time": p99 of a step; "size": of the file.
    """
    known = [(n, run) for n, run in enumerate(runs) if run.accuracy is not None]
    if not known:
        return None
    title, price = _COSTS[cost]
    figure = _figure(title, "accuracy, %")
    for n, run in known:
        figure.add_scatter(
            x=[price(run)],
            y=[100 * _accuracy(run)],
            mode="markers",
            marker={
                "color": _COLOURS[n % len(_COLOURS)],
                "size": _POINT,
                "symbol": _SYMBOLS[_round(n)] if run.passed else _MISSED,
            },
            name=run.name,
            meta=n,
        )
    best = front([(price(run), _accuracy(run)) for _, run in known])
    figure.add_scatter(
        x=[x for x, _ in best],
        y=[100 * y for _, y in best],
        mode="lines+markers",  # rings, since a front of one point has no line
        marker={"symbol": "circle-open", "size": _POINT + 8, "color": "#777"},
        line={"color": "#777", "width": 1, "dash": "dot", "shape": "hv"},
        name="the front",
    )
    return figure


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, value) to which no other is at most as costly and more worth."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def _accuracy(run: Run) -> float:
    assert run.accuracy is not None
    return run.accuracy


def _mark_deadlines(line: Any, axis: str, runs: Sequence[Run]) -> None:
    for deadline in sorted({run.deadline_ms for run in runs if run.deadline_ms is not None}):
        line(**{axis: deadline * 1e3}, line={"color": _DEADLINE, "width": 1.5, "dash": "dash"})


def swatch(n: int) -> dict[str, str]:
    """The attributes of an SVG line that is drawn as result n is."""
    line = _line(n)
    dash = {} if line["dash"] == "solid" else {"stroke-dasharray": _DASHES[_round(n)]}
    return {"stroke": line["color"], "stroke-width": "3", **dash}


def _line(n: int) -> dict[str, Any]:
    dash = _DASHES[_round(n)].replace(" ", "px,")
    dash += "" if dash == "solid" else "px"
    return {"color": _COLOURS[n % len(_COLOURS)], "dash": dash, "width": 2}


def _round(n: int) -> int:
    return n // len(_COLOURS) % len(_DASHES)


def _figure(x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> Any:
    figure = from_extra("plotly.graph_objects", "report").Figure()
    axis = {"gridcolor": "#e5e5e5", "linecolor": "#999", "zeroline": False, "automargin": True}
    powers = {"type": "log", "dtick": 1, "exponentformat": "power"}
    figure.update_layout(
        template="none",
        xaxis=axis | {"title": {"text": x}} | (powers if log_x else {}),
        yaxis=axis | {"title": {"text": y}} | (powers if log_y else {}),
        margin={"l": 8, "r": 8, "t": 24, "b": 8},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#222"},
        hovermode="closest",
        showlegend=False,
    )
    return figure
