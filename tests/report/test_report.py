"""The page of many results: read back from real runs, true to them, and alive in a browser."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli.main import main as edge

from kgated.report.charts import histograms, pareto, timelines
from kgated.report.page import COLUMNS, render
from kgated.report.read import read_runs
from kgated_cli import main as kgated

MODEL = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"
# A new profile phones home, over a network that tests do not have.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of two commands, and a third as if from another device."""
    folder = tmp_path_factory.mktemp("results")
    x = np.random.default_rng(0).normal(size=(12, 30, 3)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, y=np.arange(12) % 2)
    data = ["--data", str(folder / "x.npz"), "--json"]
    edge(["check", str(MODEL), *data, str(folder / "check.json"), "--deadline-ms", "50"])
    options = ["--period-ms", "2", "--seconds", "0.2", "--deadline-ms", "0.0001"]
    assert edge(["realtime", str(MODEL), *options, *data, str(folder / "realtime.json")]) == 1
    board_run = json.loads((folder / "check.json").read_text())
    board_run["device"]["name"] = "<b>Board & Co</b>"
    board_run["latency_us_p99"] *= 10
    board_run["accuracy"] = 1.0
    (folder / "other.json").write_text(json.dumps(board_run))
    return [folder / f"{name}.json" for name in ("check", "realtime", "other")]


def test_every_figure_is_the_result_s_own(results):
    check, realtime, board_run = read_runs(results)
    own = [json.loads(path.read_text()) for path in results]
    assert (check.p99_us, check.accuracy) == (own[0]["latency_us_p99"], own[0]["accuracy"])
    assert realtime.p99_us == own[1]["completion"]["p99_us"]
    # A run that is too late for what is left ends there, and counts that as missed.
    assert (realtime.misses, realtime.steps, realtime.passed) == (100, own[1]["steps_run"], False)
    assert check.model_bytes == MODEL.stat().st_size
    assert sum(realtime.counts) == realtime.steps
    assert board_run.device == "<b>Board & Co</b>"
    assert len({run.name for run in (check, realtime, board_run)}) == 3


def test_the_page_shows_the_number_of_streams_of_a_step(results, tmp_path):
    many = json.loads(results[1].read_text()) | {"streams": 300, "load": 2}
    (tmp_path / "many.json").write_text(json.dumps(many))
    page = render(read_runs([results[1], tmp_path / "many.json"]))
    assert '<td data-sort="realtime" class="">realtime</td>' in page
    assert ">realtime, 300 streams, 2 beside</td>" in page


def test_pictures_hold_every_step_and_the_deadline(results):
    runs = read_runs(results)
    times = histograms(runs)
    for run, trace in zip(runs, times.data, strict=True):
        assert sum(y for y in trace.y[:-1] if y) == pytest.approx(1)
        assert list(trace.x) == list(run.edges_us)
    assert [shape.x0 for shape in times.layout.shapes] == [0.1, 50_000]
    for scheduled, own in ((True, runs[1:2]), (False, runs[0:3:2])):
        lines = timelines(runs, scheduled)
        longest = [trace for trace in lines.data if "median" not in trace.name]
        assert [max(trace.y) for trace in longest] == [run.max_us for run in own]
    # Arrivals are 2 ms apart.
    (trace, _) = timelines(runs, True).data
    assert len(trace.x) == runs[1].steps
    assert trace.x[-1] == pytest.approx(0.002 * (runs[1].steps - 1))
    assert timelines(runs[:1], True) is None


def test_accuracy_is_set_against_time_and_size(results):
    runs = read_runs(results)
    small = replace(runs[0], name="small", model_bytes=1024, p99_us=1e6, accuracy=0.25)
    for cost, own in (("time", small.p99_us), ("size", 1.0)):
        *points, best = pareto([*runs, small], cost).data
        assert len(points) == 3
        assert [(*point.x, *point.y) for point in points][-1] == (own, 25.0)
        # The smallest is on the front of sizes, and the slowest on none of times.
        assert (own in best.x) is (cost == "size")


def browser():
    """Chromium, driven as a user would."""
    if not (path := shutil.which("chromium") or shutil.which("chromium-browser")):
        pytest.skip("there is no chromium: the page was NOT opened in a browser")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright()
    return path, playwright


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works_in_a_browser(results, tmp_path, width):
    (tmp_path / "page.html").write_text(render(read_runs(results), "A <title>"))
    path, playwright = browser()
    with playwright as driver, driver.chromium.launch(executable_path=path, args=QUIET) as chromium:
        page = chromium.new_page(viewport={"width": width, "height": 800})
        said, asked = [], []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("#pareto .main-svg")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.title() == "A <title>"
        for picture in ("times", "timeline", "steps", "pareto", "sizes"):
            box = page.locator(f"#{picture} .main-svg").first.bounding_box()
            assert 300 < box["width"] <= width
            assert box["x"] + box["width"] <= width
        _sorts_and_filters(page)
        shot = page.screenshot(full_page=True)
    assert not said
    assert asked == [(tmp_path / "page.html").as_uri()]
    assert len(shot) > 20_000, "a blank page compresses to less"


def _sorts_and_filters(page):
    cells = page.locator("#results tbody tr:visible")
    column = COLUMNS.index("p99 µs")

    def shown():
        texts = [cells.nth(n).locator("td").nth(column).inner_text() for n in range(cells.count())]
        return [float(text) for text in texts]

    first = shown()
    heading = page.get_by_role("button", name="p99 µs")
    heading.click()
    assert shown() == sorted(first)
    heading.click()
    assert shown() == sorted(first, reverse=True)
    page.get_by_role("searchbox").fill("CHECK board")
    assert len(shown()) == 1
    assert "<b>Board & Co</b>" in cells.first.inner_text()
    assert page.locator("#shown").inner_text() == "1 of 3 results"
    assert page.locator(".key li:visible").all_inner_texts() == ["speech · <b>Board & Co</b>"]
    visible = """[...document.querySelectorAll(".js-plotly-plot")].flatMap(
        chart => chart.data.filter(t => t.visible && "meta" in t).map(t => t.meta))"""
    assert set(page.evaluate(visible)) == {2}
    page.get_by_role("searchbox").fill("")
    assert set(page.evaluate(visible)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: "{", "not JSON"),
        (lambda r: "[]", "something else"),
        (lambda r: json.dumps(r | {"command": "selftest"}), "selftest"),
        (lambda r: json.dumps({k: v for k, v in r.items() if k != "latency_timeline"}), "another"),
        (lambda r: json.dumps(r | {"device": None}), "another version"),
        (lambda r: json.dumps(r | {"quality": 1}), "another version"),
        (lambda r: json.dumps(r | {"command": ["check"]}), "the result of"),
    ],
)
def test_files_that_are_no_results_are_named(results, tmp_path, change, says):
    path = tmp_path / "bad.json"
    path.write_text(change(json.loads(results[0].read_text())))
    with pytest.raises(ValueError, match=says) as error:
        read_runs([results[0], path])
    assert str(path) in str(error.value)


def test_equal_results_have_names_of_their_own(results, tmp_path):
    paths = [results[0], tmp_path / "a" / "check.json", tmp_path / "b" / "check.json"]
    for path in paths[1:]:
        path.parent.mkdir()
        shutil.copy(results[0], path)
    assert len({run.name for run in read_runs(paths)}) == 3


def test_the_command_writes_the_page(results, tmp_path, capfd):
    page = tmp_path / "page.html"
    with pytest.raises(SystemExit) as stop:
        kgated(["report", *map(str, results), "-o", str(page), "--title", "Three"])
    assert stop.value.code == 0
    assert "<title>Three</title>" in page.read_text()
    before = results[0].read_bytes()
    for arguments, says in (
        ([results[0], "-o", results[0]], "one of the results"),
        ([tmp_path / "none.json", "-o", page], "none.json"),
        ([*results[:1] * 5, "-o", page], "given twice"),
        ([results[0], "-o", tmp_path / "no" / "page.html"], "no folder"),
    ):
        with pytest.raises(SystemExit) as stop:
            kgated(["report", *map(str, arguments)])
        assert stop.value.code == 2
        assert says in capfd.readouterr().err
    assert results[0].read_bytes() == before
