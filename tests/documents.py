"""Code blocks, headings and links of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(
        ROOT / name
        for name in (
            "README.md",
            "CONTRIBUTING.md",
            "CHANGELOG.md",
            "SECURITY.md",
            "edge/README.md",
        )
    ),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NOT_RUN = "<!-- not run in the tests: "
RUN_BY_THE_CHECKS = "<!-- test command -->"  # .ci/run finds the command of README by it


def page(name):
    return (ROOT / name).read_text()


def blocks(text, language, marked_not_run=False):
    """Fenced blocks of one language: those to run, or those marked as not run in the tests."""
    pattern = rf"({NOT_RUN}[^\n]* -->\n|{RUN_BY_THE_CHECKS}\n)?^```(\w*)\n(.*?)^```$"
    actual = re.findall(pattern, text, re.DOTALL | re.MULTILINE)
    return [
        code for marker, name, code in actual if (name, bool(marker)) == (language, marked_not_run)
    ]


def without_blocks(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """The anchors that GitHub gives to the headings."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings]


def links(text):
    """Targets of all relative links and images."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_blocks(text))
    return [target for target in targets if "://" not in target]
