"""The charts of a comparison: Pareto fronts, learning curves, gradients and gates, as SVG."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from kgated.compare.dynamics import REACH
from kgated.compare.results import BaselineResult, Comparison
from kgated.pages.colours import GREY, GRID, PALETTE, series_colour
from kgated.pages.pareto import pareto_front
from kgated.pages.svg_charts import legend_beside, svg_chart
from kgated.study.tasks.metrics import Metric

# The lines of the first series, of those after the palette's last colour, and so on.
LINES = ("-", "--", ":")
MARKERS = "osD^vP*"
BASELINE_LINES = (":", "--")
GATE_COLOURS = (PALETTE[0], GRID, PALETTE[4])  # closed, between, open
SIZE_INCHES = (4.7, 3.4)
MIN_NORM = 1e-8

Point = tuple[float, float, str, str]
"""Cost, value of the metric, the candidate's name, the recipe."""


def size_points(comparison: Comparison) -> list[Point]:
    """File size in KiB against the metric on the device, of each file."""
    return [
        (device.file_bytes / 1024, device.value, candidate.name, device.quantize)
        for candidate in comparison.candidates
        for device in candidate.devices
        if device.file_bytes is not None and device.value is not None
    ]


def latency_points(comparison: Comparison) -> list[Point]:
    """Median time of one frame in µs against the metric on the device, of each file."""
    frame_us = 1e6 * comparison.sample_period_s
    return [
        (device.real_time_factor * frame_us, device.value, candidate.name, device.quantize)
        for candidate in comparison.candidates
        for device in candidate.devices
        if device.real_time_factor is not None and device.value is not None
    ]


def front_chart(
    points: Sequence[Point], metric: Metric, baselines: Sequence[BaselineResult], cost: str
) -> str:
    """The metric against a cost, with the Pareto front and the simple models, as SVG."""
    names = list(dict.fromkeys(point[2] for point in points))
    recipes = list(dict.fromkeys(point[3] for point in points))
    colours = {name: series_colour(n) for n, name in enumerate(names)}
    markers = {recipe: MARKERS[n % len(MARKERS)] for n, recipe in enumerate(recipes)}

    def draw(axes: Any) -> None:
        front = pareto_front(points, itemgetter(0), lambda point: metric.gain(point[1], 0.0))
        xs, ys = [point[0] for point in front], [metric.factor * point[1] for point in front]
        axes.plot(xs, ys, drawstyle="steps-post", color=GREY, linewidth=1.2, label="Pareto front")
        for line, baseline in zip(BASELINE_LINES, baselines, strict=False):
            value = metric.factor * baseline.value
            axes.axhline(value, color=GREY, linestyle=line, label=baseline.name)
        for x, y, name, recipe in points:
            axes.plot(x, metric.factor * y, markers[recipe], color=colours[name], ms=7)
        for name in names:
            axes.plot([], [], "o", color=colours[name], label=name)
        for recipe in recipes:
            axes.plot([], [], markers[recipe], color=GREY, mfc="none", label=recipe)
        axes.set_xlabel(cost)
        axes.set_ylabel(f"{metric.title} on the device{', %' if metric.unit == '%' else ''}")
        legend_beside(axes)

    return svg_chart(draw, f"{metric.title} and {cost}", SIZE_INCHES)


def learning_chart(comparison: Comparison) -> str:
    """The validation loss of each candidate's validated training, epoch by epoch, as SVG."""

    def draw(axes: Any) -> None:
        for n, candidate in enumerate(comparison.candidates):
            run = candidate.validated_run
            losses = run.curves["val_loss"]
            colour, epochs = series_colour(n), range(1, len(losses) + 1)
            axes.plot(epochs, losses, _line(n), color=colour, label=candidate.name, linewidth=1.4)
            axes.plot(run.best_epoch, run.val_loss, "o", color=colour, ms=6)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation loss")
        legend_beside(axes)

    return svg_chart(draw, "validation loss of each candidate", SIZE_INCHES)


def gradient_chart(comparison: Comparison) -> str:
    """The gradient's norm at each step back from the last frame, of each candidate, as SVG."""

    def draw(axes: Any) -> None:
        for n, candidate in enumerate(comparison.candidates):
            if candidate.gradient_norms is None:
                continue
            norms = np.maximum(np.array(candidate.gradient_norms)[::-1], MIN_NORM)
            steps, colour = np.arange(len(norms)), series_colour(n)
            axes.plot(steps, norms, _line(n), color=colour, label=candidate.name)
        axes.axhline(REACH, color=GREY, linestyle=":", label="1%")
        axes.set_yscale("log")
        axes.set_xlabel("steps back from the last frame")
        axes.set_ylabel("norm of the gradient, last frame = 1")
        legend_beside(axes)

    return svg_chart(draw, "gradient of each candidate", SIZE_INCHES)


def gate_chart(comparison: Comparison) -> str:
    """How much of the time each gate is closed, between, and open, as SVG; empty without gates."""
    rows = [(c.name, gate) for c in comparison.candidates for gate in c.gates]
    if not rows:
        return ""

    def draw(axes: Any) -> None:
        for n, (_, gate) in enumerate(rows):
            between = 1.0 - gate.closed - gate.open
            parts = (gate.closed, between, gate.open)
            lefts = (0.0, gate.closed, gate.closed + between)
            for width, left, colour in zip(parts, lefts, GATE_COLOURS, strict=True):
                axes.barh(n, 100 * width, left=100 * left, color=colour, height=0.7)
            axes.plot(100 * gate.mean, n, "|", color="black", ms=9)
        axes.set_yticks(range(len(rows)), [f"{name} {gate.name}" for name, gate in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        for colour, text in zip(GATE_COLOURS, ("below 0.1", "between", "above 0.9"), strict=True):
            axes.plot([], [], "s", color=colour, label=text)
        axes.plot([], [], "|", color="black", label="mean, of 100")
        axes.set_xlabel("% of the values of a gate")
        legend_beside(axes)

    return svg_chart(draw, "gates of each candidate", (SIZE_INCHES[0], 1.1 + 0.28 * len(rows)))


def _line(n: int) -> str:
    return LINES[n // len(PALETTE) % len(LINES)]
