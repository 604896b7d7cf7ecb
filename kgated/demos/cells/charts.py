"""The charts of a report, as SVG elements of an HTML page in the page's font."""

import io
import re
from math import sqrt
from typing import Any

import numpy as np

from kgated.demos.cells.results import Latency, Results, Row
from kgated.optional_imports import from_demo

# Okabe and Ito's colour-blind-safe palette; markers distinguish the series in grey.
COLOURS = {"none": "#0072B2", "dynamic": "#D55E00"}
MARKERS = {"none": "o", "dynamic": "s"}
GREY, INK = "#6b6b6b", "#222222"
# The width of a phone's screen, so that the text is not scaled down; 72 units to an inch.
WIDTH_INCHES, ROW_INCHES, FRAME_INCHES = 4.7, 0.36, 1.1
STYLE = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
METADATA = ("Creator", "Date", "Format", "Type")  # left out of the SVG
NORMAL_95 = 1.96


def accuracy_chart(results: Results) -> str:
    """Accuracy of every row in Keras and on the device, with the linear baseline, as SVG."""
    rows, count = results.rows, results.setting.test_sequences
    lowest = min(wilson(r.device_accuracy, count)[0] for r in rows)
    lowest = min(lowest, results.baseline.test_accuracy)
    start = max(0.0, np.floor(100.0 * lowest) / 100.0)

    def draw(axes: Any) -> None:
        _baseline(axes, results.baseline.test_accuracy, start)
        for row_number, row in enumerate(rows):
            _accuracies(axes, row_number, row, wilson(row.device_accuracy, count))
        axes.set_xlim(start, 1.0 + 0.02 * (1.0 - start))
        axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:g}")
        axes.set_xlabel(f"test accuracy, % (the axis starts at {100 * start:g}%)")

    return _svg(rows, draw, "accuracy of each cell and recipe")


def latency_chart(results: Results) -> str:
    """The distribution of the step times of every row, with the deadline, as SVG."""
    rows, deadline_us = results.rows, 1000.0 * results.setting.deadline_ms

    def draw(axes: Any) -> None:
        for row_number, row in enumerate(rows):
            _latencies(axes, row_number, row.latency, COLOURS[row.quantize])
        axes.axvline(deadline_us, color=GREY, linestyle="--", linewidth=1.2)
        _label_line(axes, deadline_us, f"deadline {results.setting.deadline_ms:g} ms", "right")
        slowest = max(r.latency.us_max for r in rows)
        fastest = min(r.latency.edges_us[0] for r in rows)
        axes.set_xscale("log")
        axes.set_xlim(fastest / 1.3, 1.3 * max(slowest, deadline_us))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,g}")
        axes.set_xlabel("time of one step, µs (logarithmic)")

    return _svg(rows, draw, "step times of each cell and recipe")


def wilson(proportion: float, count: int) -> tuple[float, float]:
    """The 95% confidence interval of a proportion observed in `count` trials (Wilson 1927)."""
    z2 = NORMAL_95**2 / count
    middle = (proportion + z2 / 2) / (1 + z2)
    half = NORMAL_95 * sqrt(proportion * (1 - proportion) / count + z2 / (4 * count)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def _accuracies(axes: Any, row_number: int, row: Row, interval: tuple[float, float]) -> None:
    colour = COLOURS[row.quantize]
    axes.plot(interval, [row_number, row_number], color=colour, linewidth=1.2, alpha=0.6)
    axes.plot(row.keras_accuracy, row_number, "o", ms=11, mfc="none", mec=INK, mew=1.0)
    axes.plot(row.device_accuracy, row_number, MARKERS[row.quantize], ms=6, color=colour)


def _baseline(axes: Any, accuracy: float, start: float) -> None:
    axes.axvline(accuracy, color=GREY, linestyle="--", linewidth=1.2)
    side = "right" if accuracy > (start + 1.0) / 2 else "left"
    _label_line(axes, accuracy, f"linear baseline {100 * accuracy:.1f}%", side)


def _latencies(axes: Any, row_number: int, latency: Latency, colour: str) -> None:
    """A histogram on the row's line with logarithmic height; p50 and p99 are marked."""
    counts = np.array(latency.counts)
    height = 0.8 * np.log10(1.0 + counts) / np.log10(1.0 + counts.sum())
    base = row_number + 0.4
    axes.stairs(base - height, latency.edges_us, baseline=base, fill=True, color=colour, alpha=0.45)
    for time_us in (latency.us_p50, latency.us_p99):
        axes.plot([time_us, time_us], [base - 0.8, base], color=INK, linewidth=1.0)
    text = f"{latency.us_p50:.1f} and {latency.us_p99:.1f}"
    end = (latency.us_p99, row_number - 0.1)
    axes.annotate(text, end, (8, 0), textcoords="offset points", va="center", fontsize=9)


def _label_line(axes: Any, x: float, text: str, align: str) -> None:
    """Text at the top end of a vertical line."""
    axes.text(x, -0.62, text, ha=align, va="bottom", color=GREY, fontsize=9)


def _svg(rows: tuple[Row, ...], draw: Any, label: str) -> str:
    """A chart with a line per row, drawn by `draw(axes)`."""
    mpl, figure_module = from_demo("matplotlib"), from_demo("matplotlib.figure")
    with mpl.rc_context({**STYLE, "svg.hashsalt": label}):
        height = FRAME_INCHES + ROW_INCHES * len(rows)
        figure = figure_module.Figure((WIDTH_INCHES, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        draw(axes)
        names = [f"{row.cell}\n{row.quantize}" for row in rows]
        axes.set_yticks(range(len(rows)), names, multialignment="right")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(METADATA))
        return inlined(text.getvalue(), label)


def inlined(svg: str, label: str) -> str:
    """An SVG file as an element of an HTML page: no prologue, no addresses, no repeated ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s+xmlns(:\w+)?=\"[^\"]*\"", "", svg)
    svg = re.sub(r"\s+id=\"[a-z]+(\.\w+)?_\d+\"", "", svg)
    box = re.search(r"viewBox=\"[^\"]*\"", svg)
    return f'<svg {box[0] if box else ""} role="img" aria-label="{label}"' + svg[svg.index(">") :]
