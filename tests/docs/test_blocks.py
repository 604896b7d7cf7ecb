"""Every command and snippet of the documentation is run by a test, or says why not."""

import re
from fnmatch import fnmatch

import pytest
from documents import NOT_RUN, PAGES, ROOT, RUN_BY_THE_CHECKS

TESTS = ROOT / "tests" / "docs"
# What runs all blocks of a page without a mark: by page, the tests of its Python and its commands.
RUN_BY = {
    "README.md": {"python": "test_readme.py", "sh": "test_commands.py"},
    "edge/README.md": {"python": "test_commands.py", "sh": "test_commands.py"},
    "docs/browser.md": {"python": "test_browser.py", "sh": "test_browser.py"},
    "docs/c.md": {"python": "test_commands.py", "sh": "test_commands.py"},
    "docs/data.md": {"python": "test_data.py", "sh": "test_data.py"},
    "docs/deploy.md": {"python": "test_docs.py"},
    "docs/devices.md": {"sh": "test_commands.py"},
    "docs/events.md": {"python": "test_events.py", "sh": "test_events.py"},
    "docs/importing.md": {"python": "test_importing.py", "sh": "test_commands.py"},
    "docs/index.md": {"python": "test_guides.py", "sh": "test_guides.py"},
    "docs/languages.md": {"python": "test_languages.py", "sh": "test_languages.py"},
    "docs/microcontrollers.md": {"sh": "test_commands.py"},
    "docs/optimize.md": {"python": "test_docs.py", "sh": "test_commands.py"},
    "docs/sequences.md": {"python": "test_docs.py"},
    "docs/signing.md": {"python": "test_signing.py", "sh": "test_signing.py"},
    "docs/streaming.md": {"python": "test_docs.py"},
    "docs/text.md": {"python": "test_text.py", "sh": "test_text.py"},
    "docs/training.md": {"python": "test_docs.py", "sh": "test_commands.py"},
    "docs/coming-from/*.md": {"python": "test_guides.py", "sh": "test_guides.py"},
    "docs/concepts/*.md": {"python": "test_guides.py", "sh": "test_guides.py"},
    "docs/guides/*.md": {"python": "test_guides.py", "sh": "test_guides.py"},
    "docs/tutorials/*.md": {"python": "test_tutorials.py"},
}
MARK = re.compile(rf"{NOT_RUN}\S.* -->")
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(
    r"(\$ |([\w./]+/)?(kgated|kgated-edge|python3?|pip3?|pytest|mkdocs|adb|arecord|bash|cd|curl|"
    r"docker|export|git|gcc|make|model_signing|mv|cp|npm|npx|scp|ssh|sudo|tail|uv|wget)( |$))"
)


def violations(name, text):
    """The blocks of a page that no test runs and that carry no mark."""
    tests = next((run for pattern, run in RUN_BY.items() if fnmatch(name, pattern)), {})
    for block in FENCE.finditer(text):
        indent, language, code = block.groups()
        start = text[: block.start()].removesuffix("\n")
        mark = start.rpartition("\n")[2]
        if MARK.fullmatch(mark) or mark == RUN_BY_THE_CHECKS:
            continue
        place = f"{name}:{start.count(chr(10)) + 2}"
        if language in ("python", "sh") and not indent:
            if language not in tests:
                yield f"{place}: no test runs it, and no mark says why"
        elif language == "python" or PROGRAM.match(code.lstrip()):
            yield f"{place}: only ```python and ```sh at the start of a line are run"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_command_and_snippet_is_run_or_has_a_reason(path):
    assert list(violations(str(path.relative_to(ROOT)), path.read_text())) == []


@pytest.mark.parametrize("pattern", RUN_BY)
def test_the_tests_that_run_the_pages_name_them(pattern):
    assert list(ROOT.glob(pattern))
    folder = pattern.removesuffix("/*.md").rpartition("/")[2]
    names = {pattern, pattern.removeprefix("docs/"), folder, folder.removesuffix(".md")}
    # "docs/c.md", "index.md", "guides", "deploy"
    for test in set(RUN_BY[pattern].values()):
        text = (TESTS / test).read_text()
        assert any(f'"{name}"' in text for name in names), test


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("docs/new.md", "```sh\nkgated convert a b\n```\n", 1),
        ("docs/new.md", "text\n\n```python\nimport kgated\n```\n", 1),
        ("docs/new.md", "```\nkgated-edge check a\n```\n", 1),
        ("docs/new.md", "```console\n$ ls\n```\n", 1),
        ("docs/c.md", "- item\n\n    ```sh\n    edge/bin/pip install x\n    ```\n", 1),
        ("docs/new.md", f"{NOT_RUN}it needs a board -->\n```sh\nssh board\n```\n", 0),
        ("docs/new.md", f"{NOT_RUN} -->\n```sh\nssh board\n```\n", 1),
        ("docs/c.md", "```sh\nkgated convert a b\n```\n", 0),
        ("docs/new.md", "```\nrecordings/rest/p1.csv\n```\n\n```json\n{}\n```\n", 0),
    ],
)
def test_the_rule_sees_what_is_not_run(name, text, count):
    assert len(list(violations(name, text))) == count
