"""The report of a comparison: one self-contained HTML file."""

from kgated.demos.cells.charts import accuracy_chart, latency_chart
from kgated.demos.cells.results import FLOAT_TOLERANCE, Results, Row
from kgated.pages.render import render_page


def render(results: Results) -> str:
    """The page as text: the table, accuracy against the baseline, the latency distributions.

    Raises:
        ImportError: jinja2 or matplotlib, of the extra `demo`, is missing.
    """
    return render_page(
        "demos/cells/report.html",
        "demo",
        results=results,
        setting=results.setting,
        cells=table_text(results),
        cell_names=list(results.training_s),
        quantizations=len(results.rows) // len(results.training_s),
        baseline=percent(results.baseline.test_accuracy),
        tolerance=f"{FLOAT_TOLERANCE:.0e}".replace("e-0", "e-"),
        accuracy_chart=accuracy_chart(results),
        latency_chart=latency_chart(results),
    )


def table_text(results: Results) -> list[dict[str, str]]:
    """The table's text: a dictionary per row, column name to text."""
    return [_cells(row) for row in results.rows]


def _cells(row: Row) -> dict[str, str]:
    return {
        "cell": row.cell,
        "quantize": row.quantize,
        "parameters": f"{row.parameters:,}",
        "file KiB": f"{row.file_bytes / 1024:.1f}",
        "Keras %": percent(row.keras_accuracy),
        "device %": percent(row.device_accuracy),
        "p50 µs": f"{row.latency.us_p50:.1f}",
        "p99 µs": f"{row.latency.us_p99:.1f}",
        "passed": "yes" if row.passed else "NO",
    }


def percent(fraction: float) -> str:
    """A fraction in percent with two decimals, without the sign."""
    return f"{100 * fraction:.2f}"
