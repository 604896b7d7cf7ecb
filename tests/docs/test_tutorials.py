"""The tutorials run, and print what their pages say."""

import shutil

import keras
import pytest
from docs_site.notebooks import CellRun, run, with_outputs
from documents import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"
NAMES = ("speakers", "keyword", "forecast", "anomaly")


def test_every_tutorial_is_run():
    assert {path.stem for path in TUTORIALS.glob("*.md")} == {*NAMES, "index"}


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
@pytest.mark.filterwarnings("default")  # a notebook shows warnings, and goes on
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_prints_the_output_on_its_page(name, tmp_path, monkeypatch):
    if name == "keyword" and shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: the keyword tutorial was NOT run")
    monkeypatch.chdir(tmp_path)
    runs = list(run(TUTORIALS / f"{name}.md"))
    assert sum(bool(cell.expected) for cell in runs) >= 4
    assert [cell for cell in runs if not cell.agrees] == []


def test_outputs_agree_in_words_and_differ_in_figures():
    assert CellRun("x", "accuracy 0.978, 3 µs\n", "accuracy 0.5, 12.5 µs\n").agrees
    assert not CellRun("x", "accuracy 0.978\n", "error 0.978\n").agrees
    assert not CellRun("x", "a 1\nb 2\n", "a 1\n").agrees


def test_a_notebook_runs_in_order_and_its_outputs_are_written(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```python\nx = 1\nprint(x)\n```\n\n```text\n7\n```\n\n```python\nx + 1\n```\n"
    )
    runs = list(run(page))
    assert [(cell.expected, cell.printed) for cell in runs] == [("7\n", "1\n"), ("", "")]
    assert "```text\n1\n```" in with_outputs(page.read_text(), runs)
    page.write_text("```python\nraise KeyError\n```\n")
    with pytest.raises(KeyError):
        list(run(page))
