"""The changelog has the form of Keep a Changelog 1.1.0."""

import re
from datetime import date

import pytest
from documents import page

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def violations(text):
    """What is wrong with the headings of a changelog."""
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    if not versions or versions[0] != "[Unreleased]":
        yield "the first section is not [Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\S+)", v) for v in versions[1:]]
    if not released or not all(released):
        yield "a section is not `[version] - date`"
        return
    days = [date.fromisoformat(match[2]) for match in released]
    if days != sorted(days, reverse=True):
        yield "the newest version does not come first"
    for kind in re.findall(r"^### (.*)$", text, re.MULTILINE):
        if kind not in KINDS:
            yield f"{kind} is no kind of change"
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        kinds = re.findall(r"^### (.*)$", section, re.MULTILINE)
        if re.match(r"[^#]*^- ", section, re.MULTILINE):
            yield "an entry is under no kind of change"
        if len(kinds) != len(set(kinds)):
            yield "a kind of change is there twice"


def test_the_changelog_has_the_form_of_keep_a_changelog():
    assert list(violations(page("CHANGELOG.md"))) == []


@pytest.mark.parametrize(
    ("text", "violation"),
    [
        ("## [0.1.0] - 2026-01-01\n", "the first section is not [Unreleased]"),
        ("## [Unreleased]\n## 0.1.0\n", "a section is not `[version] - date`"),
        (
            "## [Unreleased]\n## [0.1.0] - 2026-01-01\n## [0.2.0] - 2026-02-01\n",
            "the newest version does not come first",
        ),
        ("## [Unreleased]\n### News\n## [0.1.0] - 2026-01-01\n", "News is no kind of change"),
        (
            "## [Unreleased]\n### Added\n### Added\n## [0.1.0] - 2026-01-01\n",
            "a kind of change is there twice",
        ),
        (
            "## [Unreleased]\n## [0.1.0] - 2026-01-01\n\n- `a`\n### Added\n- b\n",
            "an entry is under no kind of change",
        ),
    ],
)
def test_the_rule_sees_another_form(text, violation):
    assert violation in list(violations(text))
