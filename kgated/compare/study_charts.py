"""The charts of a comparison of candidates: Pareto fronts and learning curves, as SVG."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from kgated.compare.charts import GREY, METADATA, STYLE, inlined
from kgated.compare.comparison import Comparison
from kgated.optional_imports import from_demo

# Okabe and Ito's colour-blind-safe palette, then again with other lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")
MARKERS = "osD^vP*"
SIZE_INCHES = (4.7, 3.4)

Point = tuple[float, float, str, str]
"""Cost, accuracy, the candidate's name, the recipe."""


def size_points(comparison: Comparison) -> list[Point]:
    """File size in KiB against the accuracy on the device, of each file."""
    return [
        (device.file_bytes / 1024, device.accuracy, candidate.name, device.quantize)
        for candidate in comparison.candidates
        for device in candidate.devices
        if device.file_bytes is not None and device.accuracy is not None
    ]


def latency_points(comparison: Comparison) -> list[Point]:
    """Median time of one frame in µs against the accuracy on the device, of each file."""
    frame_us = 1e6 * comparison.sample_period_s
    return [
        (device.real_time_factor * frame_us, device.accuracy, candidate.name, device.quantize)
        for candidate in comparison.candidates
        for device in candidate.devices
        if device.real_time_factor is not None and device.accuracy is not None
    ]


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats: cheaper and at least as accurate, or the reverse."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p[0], -p[1])):
        if not front or point[1] > front[-1][1]:
            front.append(point)
    return front


def front_chart(points: Sequence[Point], baseline: float, cost: str, label: str) -> str:
    """Accuracy against a cost, with the Pareto front and the linear baseline, as SVG."""
    names = list(dict.fromkeys(point[2] for point in points))
    recipes = list(dict.fromkeys(point[3] for point in points))

    def draw(axes: Any) -> None:
        front = pareto_front(points)
        xs, ys = [point[0] for point in front], [100 * point[1] for point in front]
        axes.plot(xs, ys, drawstyle="steps-post", color=GREY, linewidth=1.2, label="Pareto front")
        axes.axhline(100 * baseline, color=GREY, linestyle=":", label="linear baseline")
        for x, y, name, recipe in points:
            colour = PALETTE[names.index(name) % len(PALETTE)]
            marker = MARKERS[recipes.index(recipe) % len(MARKERS)]
            axes.plot(x, 100 * y, marker, color=colour, ms=7)
        for name in names:
            colour = PALETTE[names.index(name) % len(PALETTE)]
            axes.plot([], [], "o", color=colour, label=name)
        for recipe in recipes:
            marker = MARKERS[recipes.index(recipe) % len(MARKERS)]
            axes.plot([], [], marker, color=GREY, mfc="none", label=recipe)
        axes.set_xlabel(cost)
        axes.set_ylabel("accuracy on the device, %")
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return _svg(draw, label)


def learning_chart(comparison: Comparison) -> str:
    """The validation loss of each candidate's converted training, epoch by epoch, as SVG."""

    def draw(axes: Any) -> None:
        for n, candidate in enumerate(comparison.candidates):
            run = candidate.best_run
            losses = run.curves["val_loss"]
            colour, line = PALETTE[n % len(PALETTE)], LINES[n // len(PALETTE) % len(LINES)]
            epochs = range(1, len(losses) + 1)
            axes.plot(epochs, losses, line, color=colour, label=candidate.name, linewidth=1.4)
            axes.plot(run.best_epoch, run.val_loss, "o", color=colour, ms=6)
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation loss")
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))

    return _svg(draw, "validation loss of each candidate")


def _svg(draw: Callable[[Any], None], label: str) -> str:
    mpl, figure_module = from_demo("matplotlib"), from_demo("matplotlib.figure")
    with mpl.rc_context({**STYLE, "svg.hashsalt": label}):
        figure = figure_module.Figure(SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
        return inlined(text.getvalue(), label)
