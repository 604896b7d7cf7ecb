"""The charts, as Plotly figures of variable width.

A result has the same line style in all charts, and the page's key names it. The index of the result
is the `meta` of each of its traces, for the page's filter.
"""

from collections.abc import Callable, Sequence
from typing import Any

from kgated.pages.colours import PALETTE, series_colour
from kgated.pages.pareto import pareto_front
from kgated.pages.plotly_figures import empty_figure
from kgated.report.read import Run

# The dash changes after the palette's last colour.
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
    """Fraction of steps per bin of time, both logarithmic, so that one late step is visible."""
    figure = _figure("time of a step, µs", "fraction of steps", log_x=True, log_y=True)
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
    """Maximum and median step time of each slice of the run; None where there is no such run.

    Args:
        runs: results.
        scheduled: True for runs on a schedule, over seconds; False for the others, over steps.
    """
    known = [(n, r) for n, r in enumerate(runs) if (r.series.period_s is not None) is scheduled]
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
    """Accuracy after each step; None where no run has it."""
    known = [(n, run) for n, run in enumerate(runs) if run.accuracy_over_frames]
    if not known:
        return None
    figure = _figure("steps seen", "accuracy, %")
    for n, run in known:
        percentages = [100 * accuracy for accuracy in run.accuracy_over_frames]
        steps = list(range(1, len(percentages) + 1))
        figure.add_scatter(x=steps, y=percentages, line=_line(n), name=run.name, meta=n)
    return figure


def pareto(runs: Sequence[Run], cost: str) -> Any | None:
    """Accuracy against cost, with the Pareto front; None without accuracies.

    Args:
        runs: results.
        cost: "time": p99 of a step; "size": size of the file.
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
                "color": series_colour(n),
                "size": _POINT,
                "symbol": _SYMBOLS[_cycle(n)] if run.passed else _MISSED,
            },
            name=run.name,
            meta=n,
        )
    front = pareto_front([run for _, run in known], price, _accuracy)
    figure.add_scatter(
        x=[price(run) for run in front],
        y=[100 * _accuracy(run) for run in front],
        mode="lines+markers",  # rings, since a front of one point has no line
        marker={"symbol": "circle-open", "size": _POINT + 8, "color": "#777"},
        line={"color": "#777", "width": 1, "dash": "dot", "shape": "hv"},
        name="the front",
    )
    return figure


def _accuracy(run: Run) -> float:
    assert run.accuracy is not None
    return run.accuracy


def _mark_deadlines(line: Any, axis: str, runs: Sequence[Run]) -> None:
    for deadline in sorted({run.deadline_ms for run in runs if run.deadline_ms is not None}):
        line(**{axis: deadline * 1e3}, line={"color": _DEADLINE, "width": 1.5, "dash": "dash"})


def swatch(n: int) -> dict[str, str]:
    """The attributes of an SVG line in the style of result n."""
    line = _line(n)
    dash = {} if line["dash"] == "solid" else {"stroke-dasharray": _DASHES[_cycle(n)]}
    return {"stroke": line["color"], "stroke-width": "3", **dash}


def _line(n: int) -> dict[str, Any]:
    dash = _DASHES[_cycle(n)].replace(" ", "px,")
    dash += "" if dash == "solid" else "px"
    return {"color": series_colour(n), "dash": dash, "width": 2}


def _cycle(n: int) -> int:
    return n // len(PALETTE) % len(_DASHES)


def _figure(x: str, y: str, *, log_x: bool = False, log_y: bool = False) -> Any:
    log_axis = {"type": "log", "dtick": 1, "exponentformat": "power"}
    x_axis = {"title": {"text": x}} | (log_axis if log_x else {})
    y_axis = {"title": {"text": y}} | (log_axis if log_y else {})
    return empty_figure(x_axis, y_axis, hovermode="closest", showlegend=False)
