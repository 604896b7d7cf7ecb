"""The pages of the site in docs/'s folders: their Python and their commands run, in their order."""

import re

import keras
import pytest
from documented_commands import run_commands
from documents import NOT_RUN, ROOT

DOCS = ROOT / "docs"
START = DOCS / "index.md"
PAGES = sorted(
    path for name in ("guides", "concepts", "coming-from") for path in DOCS.glob(f"{name}/*.md")
)
BLOCK = re.compile(
    rf"({NOT_RUN}[^\n]* -->\n)?^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="converts, which takes minutes elsewhere"
)


def examples(page):
    """(language, code) of each block of a page that is to run."""
    actual = BLOCK.findall(page.read_text())
    return [(language, code) for not_run, language, code in actual if not not_run]


def run_page(page):
    names = {"__name__": "__main__"}
    for language, code in examples(page):
        if language == "python":
            exec(compile(code, str(page), "exec"), names)
        else:
            run_commands(code)


WITH_EXAMPLES = [path for path in PAGES if examples(path)]


@TENSORFLOW
@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.stem)
def test_examples_of_a_page_run(page, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run_page(page)


@TENSORFLOW
@pytest.mark.slow
def test_the_start_leads_from_an_empty_folder_to_a_passed_check(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    run_page(START)
    printed = capfd.readouterr().out
    assert "PASS" in printed
    assert printed.splitlines()[-1] == "walk"


def test_most_pages_have_examples_and_few_blocks_are_not_run():
    assert len(WITH_EXAMPLES) >= 10
    skipped = sum(
        bool(not_run) for p in [START, *PAGES] for not_run, *_ in BLOCK.findall(p.read_text())
    )
    assert skipped == 3


def test_a_block_that_fails_fails_its_page(tmp_path, capfd):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)
    page.write_text("```sh\nkgated-edge selftest missing.tflite\n```\n")
    with pytest.raises(AssertionError):
        run_page(page)
