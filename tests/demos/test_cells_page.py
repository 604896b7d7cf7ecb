"""The page: whole in itself, and every figure in it from the results."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from kgated_edge.evaluation.confidence import wilson_interval

from kgated.demos.cells.charts import accuracy_chart, latency_chart
from kgated.demos.cells.page import render, table_text
from kgated.demos.cells.results import Baseline, Results, Row, Setting, disagreements, to_json
from kgated.study.edge_check import Latency

LATENCY = Latency(3.25, 7.5, 812.0, (1.0, 10.0, 100.0, 1000.0), (350, 49, 1))


def row(cell, quantize, **change):
    values = {
        "parameters": 21_193,
        "keras_accuracy": 0.975,
        "device_accuracy": 0.97 if quantize == "dynamic" else 0.975,
        "differing_decisions": 1 if quantize == "dynamic" else 0,
        "max_abs_difference": 4.5e-3 if quantize == "dynamic" else 3e-7,
        "file_name": f"{cell}.stream-{quantize}.tflite",
        "file_bytes": 50_688,
        "latency": LATENCY,
        "deadline_misses": 0,
        "peak_memory_mib": 47.6,
        "failures": (),
    }
    return Row(cell, quantize, **values | change)


@pytest.fixture
def results():
    setting = Setting(
        data="Vowels",
        train_sequences=100,
        test_sequences=200,
        test_frames=4000,
        classes=9,
        sample_period_s=0.0064,
        deadline_ms=10.0,
        max_misses=4,
        seed=11,
        machine="a machine",
        versions={"kgated": "0.1.0"},
    )
    rows = tuple(row(cell, q) for cell in ("LSTM", "GRU") for q in ("none", "dynamic"))
    baseline = Baseline("logistic regression on 4 frames", 0.981, 0.965)
    return Results(setting, baseline, rows, {"LSTM": 12.4, "GRU": 11.2}, 60.0)


class Cells(HTMLParser):
    """The text of each cell of the page's table, row by row."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1].append(data)

    def handle_endtag(self, tag):
        self.inside = False


def test_the_page_needs_nothing_else(results):
    page = render(results).replace('<link rel="icon" href="data:,">', "")
    assert "<svg" in page
    for reference in ("http:", "https:", "//", "src=", "<link", "<script", "@import", "url(#0"):
        assert reference not in re.sub(r"url\(#\w+\)", "", page), reference


def test_the_table_is_that_of_the_results(results):
    head, *rows = Cells(render(results)).rows
    assert head == list(table_text(results)[0])
    assert rows[0] == ["LSTM", "none", "21,193", "49.5", "97.50", "97.50", "3.2", "7.5", "yes"]
    assert rows[1] == [
        *["LSTM", "dynamic", "21,193", "49.5"],
        *["97.50", "97.00", "3.2", "7.5", "yes"],
    ]
    assert [r[:2] for r in rows] == [[r.cell, r.quantize] for r in results.rows]


CHANGES = {
    "parameters": (98_765, "98,765"),
    "keras_accuracy": (0.9155, "91.55"),
    "device_accuracy": (0.9055, "90.55"),
    "file_bytes": (81_203, "79.3"),
    "latency": (replace(LATENCY, us_p50=4.75), "4.8"),
    "failures": (("too slow",), "NO"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_result_changes_the_table(results, field):
    value, text = CHANGES[field]
    rows = (replace(results.rows[0], **{field: value}), *results.rows[1:])
    before, after = (Cells(render(item)).rows for item in (results, replace(results, rows=rows)))
    assert text not in before[1]
    assert text in after[1]
    assert before[2:] == after[2:]


def test_the_page_shows_the_agreement_of_keras_and_the_device(results):
    page = " ".join(render(results).split())
    assert "outputs differ by at most 3.0e-07, 0 of 200 decisions differ" in page
    assert "outputs differ by at most 4.5e-03, 1 of 200 decisions differ" in page
    assert "at most 48 MiB" in page
    assert "Linear baseline: 96.50%" in page


def test_a_failure_is_shown_as_a_sentence(results):
    assert "PASS." in render(results)
    bad = row("GRU", "none", failures=("2 decisions differ <b>",))
    page = render(replace(results, rows=(bad, *results.rows[1:])))
    assert "PASS." not in page
    assert "GRU, none: 2 decisions differ &lt;b&gt;" in page


def test_charts_are_drawn_from_the_results(results):
    altered_row = replace(
        results.rows[0], device_accuracy=0.95, latency=replace(LATENCY, us_p99=9.5)
    )
    changed = replace(results, rows=(altered_row, *results.rows[1:]))
    for chart in (accuracy_chart, latency_chart):
        assert chart(results) == chart(results)
        assert chart(results) != chart(changed)
    assert "3.2 and 9.5" in latency_chart(changed)
    assert "deadline 10 ms" in latency_chart(results)


def test_the_title_of_the_accuracy_axis_has_its_start(results):
    lowest = wilson_interval(194, 200).low
    assert 0.93 < lowest < 0.94
    assert "the axis starts at 93%" in accuracy_chart(results)
    poor = replace(results, baseline=replace(results.baseline, test_accuracy=0.456))
    assert "the axis starts at 45%" in accuracy_chart(poor)


def test_json_holds_every_figure_with_its_unit(results):
    content = json.loads(to_json(results))
    assert content["passed"] is True
    first = content["rows"][0]
    assert first["passed"] is True
    assert first["latency"]["us_p99"] == 7.5
    assert first["file_bytes"] == 50_688
    assert content["baseline"]["test_accuracy"] == 0.965
    assert content["setting"]["deadline_ms"] == 10.0


@pytest.mark.parametrize(
    ("quantize", "difference", "differing", "count"),
    [
        ("none", 1e-5, 0, 0),
        ("none", 1.1e-5, 0, 1),
        ("none", float("nan"), 0, 1),
        ("none", 0.0, 1, 1),
        ("dynamic", 0.1, 3, 0),
    ],
)
def test_a_float_file_may_not_disagree_with_keras(quantize, difference, differing, count):
    assert len(disagreements(quantize, difference, differing)) == count
