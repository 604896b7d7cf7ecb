"""The charts of a report, as SVG elements of an HTML page in the page's font."""

from collections.abc import Callable
from typing import Any

import numpy as np
from kgated_edge.evaluation.confidence import Interval, wilson_interval

from kgated.demos.cells.results import Results, Row
from kgated.pages.colours import GREY, INK, PALETTE
from kgated.pages.svg_charts import svg_chart
from kgated.study.edge_check import Latency

# Markers distinguish the recipes in grey.
COLOURS = {"none": PALETTE[0], "dynamic": PALETTE[1]}
MARKERS = {"none": "o", "dynamic": "s"}
# The width of a phone's screen, so that the text is not scaled down; 72 units to an inch.
WIDTH_INCHES, ROW_INCHES, FRAME_INCHES = 4.7, 0.36, 1.1


def accuracy_chart(results: Results) -> str:
    """Accuracy of every row in Keras and on the device, with the linear baseline, as SVG."""
    rows, count = results.rows, results.setting.test_sequences
    intervals = [wilson_interval(round(r.device_accuracy * count), count) for r in rows]
    lowest = min(results.baseline.test_accuracy, *(interval.low for interval in intervals))
    start = max(0.0, np.floor(100.0 * lowest) / 100.0)

    def draw(axes: Any) -> None:
        _baseline(axes, results.baseline.test_accuracy, start)
        for row_number, (row, interval) in enumerate(zip(rows, intervals, strict=True)):
            _accuracies(axes, row_number, row, interval)
        axes.set_xlim(start, 1.0 + 0.02 * (1.0 - start))
        axes.xaxis.set_major_formatter(lambda x, _: f"{100 * x:g}")
        axes.set_xlabel(f"test accuracy, % (the axis starts at {100 * start:g}%)")

    return _row_chart(rows, draw, "accuracy of each cell and recipe")


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

    return _row_chart(rows, draw, "step times of each cell and recipe")


def _accuracies(axes: Any, row_number: int, row: Row, interval: Interval) -> None:
    colour = COLOURS[row.quantize]
    whisker = (interval.low, interval.high)
    axes.plot(whisker, [row_number, row_number], color=colour, linewidth=1.2, alpha=0.6)
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


def _row_chart(rows: tuple[Row, ...], draw: Callable[[Any], None], label: str) -> str:
    """A chart with a line per row, drawn by `draw(axes)`."""

    def draw_rows(axes: Any) -> None:
        axes.tick_params(axis="y", length=0)
        draw(axes)
        names = [f"{row.cell}\n{row.quantize}" for row in rows]
        axes.set_yticks(range(len(rows)), names, multialignment="right")
        axes.set_ylim(len(rows) - 0.4, -0.6)

    size_inches = (WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * len(rows))
    hidden = ("top", "right", "left")
    return svg_chart(draw_rows, label, size_inches, grid="x", hidden_spines=hidden)
