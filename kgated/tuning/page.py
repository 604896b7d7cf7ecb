"""The page on a search: trade-off of misses against false accepts per hour, delay, thresholds."""

from typing import Any

from kgated_edge import EventMetrics

from kgated.pages.colours import series_colour
from kgated.pages.plotly_figures import empty_figure, plot_html, plotly_script
from kgated.pages.render import render_page
from kgated.tuning.run import Tuned
from kgated.tuning.search import Curve

_HEIGHT = "420px"


def render(
    tuned: Tuned,
    title: str = "Operating point",
    *,
    test: tuple[EventMetrics, EventMetrics] | None = None,
    note: str = "",
) -> str:
    """The page as text: one HTML file that needs no network.

    Args:
        tuned: the search.
        title: of the page.
        test: on recordings that were not tuned on, the metrics of raw decisions and of the
            chosen settings.
        note: a paragraph about the data.

    Raises:
        ImportError: plotly or jinja2, of the extra `report`, is missing.
    """
    return render_page(
        "tuning/page.html",
        "report",
        title=title,
        summary=_summary(tuned),
        note=note,
        rows=_rows(tuned.before, tuned.after),
        test=None if test is None else _rows(*test),
        test_hours="" if test is None else f"{test[1].hours:.3g}",
        confidence=f"{100 * tuned.after.confidence:g}%",
        classes=_classes(tuned),
        tradeoff=plot_html(_tradeoff(tuned), "tradeoff", _HEIGHT),
        delay=plot_html(_delays(tuned), "delay", _HEIGHT),
        plotly=plotly_script(),
    )


def _summary(tuned: Tuned) -> str:
    settings, after = tuned.settings, tuned.after
    return (
        f"{tuned.recordings} recordings, {after.hours:.3g} hours, {after.reference} labelled "
        f"events; at most {tuned.max_false_accepts_per_hour:g} false accepts per hour. Chosen: "
        f"{settings.smoothing} over {settings.smoothing_s:g} s, at least "
        f"{settings.min_duration_s:g} s, pause {settings.refractory_s:g} s."
    )


def _rows(before: EventMetrics, after: EventMetrics) -> list[tuple[str, str, str]]:
    texts = metric_texts(after)
    return [(name, text, texts[name]) for name, text in metric_texts(before).items()]


def metric_texts(metrics: EventMetrics) -> dict[str, str]:
    """The rows of a table on metrics, by name."""
    return {
        "missed": f"{metrics.misses} of {metrics.reference}",
        "miss rate": _with_interval(metrics.miss_rate, metrics.miss_rate_interval),
        "false accepts": str(metrics.false_accepts),
        "false accepts per hour": _with_interval(
            metrics.false_accepts_per_hour, metrics.false_accepts_per_hour_interval
        ),
        "delay, median, ms": _number(metrics.delay_ms_p50),
        "delay, 95%, ms": _number(metrics.delay_ms_p95),
    }


def _with_interval(value: float | None, interval: Any) -> str:
    return f"{_number(value)} ({_number(interval.low)} to {_number(interval.high)})"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # ".3g" has an exponent from 1,000


def _classes(tuned: Tuned) -> list[tuple[str, ...]]:
    rows = []
    for name, threshold in tuned.settings.classes.items():
        counts = tuned.after.by_class.get(name)
        numbers = (
            (0, 0, 0)
            if counts is None
            else (
                counts.reference,
                counts.misses,
                counts.false_accepts,
            )
        )
        rows.append((name, f"{threshold.on:.4g}", f"{threshold.off:.4g}", *map(str, numbers)))
    return rows


def _tradeoff(tuned: Tuned) -> Any:
    figure = _figure("false accepts per hour", "missed, %")
    for curve in tuned.curves:
        missed = [100 * choice[0] / tuned.after.reference for choice in curve.choices]
        _add(figure, tuned, curve, missed)
    rate, miss_rate = tuned.after.false_accepts_per_hour, tuned.after.miss_rate or 0.0
    figure.add_scatter(
        x=[max(rate, _half_a_count(tuned))],
        y=[100 * miss_rate],
        mode="markers",
        marker={"size": 14, "symbol": "circle-open", "color": "#b00020", "line": {"width": 3}},
        name="chosen",
    )
    return figure


def _delays(tuned: Tuned) -> Any:
    figure, reference = _figure("false accepts per hour", "mean delay, ms"), tuned.after.reference
    for curve in tuned.curves:
        hits = [reference - choice[0] for choice in curve.choices]
        mean = [
            1e3 * choice[1] / count if count else None
            for choice, count in zip(curve.choices, hits, strict=True)
        ]
        _add(figure, tuned, curve, mean)
    return figure


def _add(figure: Any, tuned: Tuned, curve: Curve, y: list[Any]) -> None:
    smallest = _half_a_count(tuned)
    figure.add_scatter(
        x=[max(count / tuned.after.hours, smallest) for count in range(len(y))],
        y=y,
        mode="lines",
        line={"shape": "hv", "color": _colour(tuned, curve), "dash": _dash(curve)},
        name=f"{curve.smoothing} {curve.smoothing_s:g} s",
    )


def _half_a_count(tuned: Tuned) -> float:
    """Where a logarithmic axis shows zero."""
    return 0.5 / tuned.after.hours


def _colour(tuned: Tuned, curve: Curve) -> str:
    """One colour per smoothing time, since the dash tells the kind of smoothing."""
    times = sorted({each.smoothing_s for each in tuned.curves})
    return series_colour(times.index(curve.smoothing_s))


def _dash(curve: Curve) -> str:
    return "solid" if curve.smoothing == "mean" else "dot"


def _figure(x: str, y: str) -> Any:
    x_axis = {"title": {"text": x}, "type": "log"}
    return empty_figure(x_axis, {"title": {"text": y}, "rangemode": "tozero"})
