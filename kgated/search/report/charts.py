"""The charts of a search: the metric against size and step time, with the limits, as SVG."""

from collections.abc import Callable, Sequence
from typing import Any

from kgated.pages.colours import GREY, series_colour
from kgated.pages.pareto import pareto_front
from kgated.pages.svg_charts import legend_beside, svg_chart
from kgated.search.trials.outcome import Outcome
from kgated.study.tasks.metrics import Metric

SIZE_INCHES = (5.2, 3.6)
MARKERS = "osD^vP*"  # of the recipes
Cost = Callable[[Outcome], float]


def front_chart(
    outcomes: Sequence[Outcome],
    chosen: Outcome,
    metric: Metric,
    cost: Cost,
    title: str,
    limit: float | None,
) -> str:
    """The metric on the validation data against a cost: every file, the front, the limit.

    Args:
        outcomes: the trained files; colours are cells, markers recipes.
        chosen: the file with a ring.
        metric: of the vertical axis.
        cost: of the horizontal axis.
        title: of that axis.
        limit: the largest cost allowed, or None.
    """
    cells = list(dict.fromkeys(outcome.design.cell for outcome in outcomes))
    recipes = list(dict.fromkeys(outcome.design.quantize for outcome in outcomes))

    def draw(axes: Any) -> None:
        front = pareto_front(outcomes, cost, lambda outcome: outcome.score)
        line = [cost(o) for o in front], [metric.factor * o.value for o in front]
        axes.plot(*line, drawstyle="steps-post", color=GREY, linewidth=1.2, label="front")
        for outcome in outcomes:
            colour = series_colour(cells.index(outcome.design.cell))
            marker = MARKERS[recipes.index(outcome.design.quantize) % len(MARKERS)]
            axes.plot(cost(outcome), metric.factor * outcome.value, marker, color=colour, ms=6)
        ring = {"mfc": "none", "mec": "#222222", "ms": 13}
        axes.plot(cost(chosen), metric.factor * chosen.value, "o", label="chosen", **ring)
        if limit is not None:
            axes.axvline(limit, color=GREY, linestyle="--", label="limit")
        _keys(axes, cells, recipes)
        axes.set_xlabel(title)
        unit = f", {metric.unit}" if metric.unit == "%" else ""
        axes.set_ylabel(f"{metric.title} on the validation data{unit}")

    return svg_chart(draw, f"{metric.title} and {title}", SIZE_INCHES)


def _keys(axes: Any, cells: list[str], recipes: list[str]) -> None:
    for n, cell in enumerate(cells):
        axes.plot([], [], "o", color=series_colour(n), label=cell)
    for n, recipe in enumerate(recipes):
        axes.plot([], [], MARKERS[n % len(MARKERS)], color=GREY, mfc="none", label=recipe)
    legend_beside(axes)
