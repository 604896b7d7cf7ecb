"""Runs the notebooks of docs/tutorials, and compares what they print with what the page says."""

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTPUT = re.compile(r"\A```text\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class CellRun:
    """One code cell: its source, what the page says that it prints, and what it printed."""

    source: str
    expected: str
    printed: str

    @property
    def agrees(self) -> bool:
        """Whether both have the same words; figures depend on the machine."""
        return words(self.expected) == words(self.printed)


def words(text: str) -> list[str]:
    """The words of a text, without its numbers."""
    return NUMBER.sub("#", text).split()


def run(path: Path) -> Iterator[CellRun]:
    """Run the code cells of a notebook in their order, in the current folder.

    Args:
        path: a Markdown file in jupytext's form. A block ```` ```text ```` directly after a code
            cell is its output.
    """
    import jupytext  # takes seconds, and not all who import this module run a notebook

    cells = jupytext.read(path).cells
    names: dict[str, Any] = {"__name__": "__main__"}
    for n, cell in enumerate(cells):
        if cell.cell_type == "code":
            after = cells[n + 1].source if n + 1 < len(cells) else ""
            expected = OUTPUT.match(after)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.source, str(path), "exec"), names)
            yield CellRun(cell.source, expected[1] if expected else "", printed.getvalue())


def with_outputs(text: str, runs: list[CellRun]) -> str:
    """The page with the outputs of a run in place of its own."""
    for cell in runs:
        if cell.expected:
            before = f"{cell.source}\n```\n\n```text\n{cell.expected}"
            if text.count(before) != 1:
                raise ValueError(f"the cell is not once in the page: {cell.source[:60]!r}")
            text = text.replace(before, f"{cell.source}\n```\n\n```text\n{cell.printed}")
    return text
