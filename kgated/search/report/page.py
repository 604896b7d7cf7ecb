"""The report of a search: tables for the terminal, and one HTML file."""

from kgated.pages.render import render_page
from kgated.search.report.charts import front_chart
from kgated.search.report.results import SearchResults
from kgated.search.trials.outcome import Outcome
from kgated.study.console import TableRow
from kgated.study.results import BaselineValue
from kgated.study.tasks.metrics import Metric


def table_rows(outcomes: tuple[Outcome, ...], results: SearchResults) -> list[TableRow]:
    """A row of text per outcome; the chosen one is marked."""
    return [_row(outcome, results) for outcome in outcomes]


def render(results: SearchResults) -> str:
    """The page as text.

    Raises:
        ImportError: jinja2 or matplotlib is missing.
    """
    by_size = sorted(results.outcomes, key=lambda o: o.cost.size(results.budget))
    budget, drawn = results.budget, (results.outcomes, results.chosen, results.metric)
    return render_page(
        "search/search.html",
        "demo",
        results=results,
        front=table_rows(results.front, results),
        trained=table_rows(tuple(by_size), results),
        baselines=[baseline_line(baseline, results.metric) for baseline in results.baselines],
        size_chart=front_chart(
            *drawn, lambda o: o.cost.size(budget) / 1024, "size, KiB", budget.max_kib
        ),
        time_chart=front_chart(
            *drawn, lambda o: o.cost.step_us_p99, "p99 of a step, µs", budget.deadline_us
        ),
    )


def baseline_line(baseline: BaselineValue, metric: Metric) -> str:
    """A line on a simple model: its metric and its description."""
    return f"{baseline.name}: {metric.text(baseline.value)}, {baseline.description}"


def _row(outcome: Outcome, results: SearchResults) -> TableRow:
    test, cost = results.test_values.get(outcome.name), outcome.cost
    mark = "* " if outcome == results.chosen else ""
    return {
        "file": f"{mark}{outcome.name}",
        "parameters": f"{outcome.parameters:,}",
        "KiB": f"{cost.file_bytes / 1024:.1f}",
        "gzip KiB": f"{cost.compressed_bytes / 1024:.1f}",
        "p50 µs": f"{cost.step_us_p50:.1f}",
        "p99 µs": f"{cost.step_us_p99:.1f}",
        "validation": results.metric.cell(outcome.value),
        "test": "-" if test is None else results.metric.cell(test),
        "fits": "yes" if cost.fits(results.budget) else "NO",
    }
