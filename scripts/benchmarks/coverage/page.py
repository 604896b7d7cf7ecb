"""The page of the coverage table: counts, cells, reasons of refusals, integer errors."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks.coverage.excluded import LAYERS

RECIPES = ("none", "dynamic", "int8", "int16x8", "mcu int8")
COLUMNS = [(mode, recipe) for mode in ("stream", "sequence") for recipe in RECIPES]
RIGHT, REFUSED = "right", "refused"
Cells = dict[tuple[str, str, str], dict[str, Any]]  # by (row, mode, recipe)


def page(cells: Cells, tables: dict[str, list[str]], command: str, day: str) -> str:
    """The whole page as markdown.

    Args:
        cells: the outcomes.
        tables: by title of a table the names of its rows.
        command: that wrote the page.
        day: of the run.
    """
    notes: dict[str, int] = {}
    parts = [
        "# Coverage",
        "",
        INTRODUCTION.format(command=command, day=day),
        "## Counts",
        "",
        *_counts(cells),
        "",
        *_tables(cells, tables, notes),
        "## Reasons of the refusals",
        "",
        *(f"{number}. {reason}" for reason, number in notes.items()),
        "",
        "## Errors of the integer recipes",
        "",
        ERRORS,
        "",
        *_errors(cells, [name for names in tables.values() for name in names]),
        "",
        "## Layers without a row",
        "",
        *_excluded(),
        "",
    ]
    return "\n".join(parts)


INTRODUCTION = """\
Every layer of `keras.layers` that a sequence model can contain, operations of `keras.ops` between
layers of a functional model, and every activation of `keras.activations`, converted in both modes
by five recipes. Terms: [glossary](glossary.md).

- **yes**: the file's results agree with those of Keras.
- **a number**: the conversion raises `ConversionError` or `ValueError`. The message names the layer
  and the remedy. The number refers to the [reasons](#reasons-of-the-refusals).
- **NO**: any other outcome, such as wrong results.
- **-**: not measured.

`{command}`
wrote this page on {day}. The script converts each model, runs the file, and compares its results
with those of Keras. Each model is small and has random weights: 4 features, 6 frames, and the layer
or operation between two Dense layers. `mcu` is `target="mcu"`.
"""
ERRORS = """\
Root mean square error of the file's results, in percent of the standard deviation of Keras's
results: the larger one of the two modes. The weights are random. The calibration data has 8
sequences."""


def _tables(cells: Cells, tables: dict[str, list[str]], notes: dict[str, int]) -> Iterator[str]:
    for title, rows in tables.items():
        yield from (f"## {title}", "", *_table(cells, rows, notes), "")


def _counts(cells: Cells) -> list[str]:
    lines = ["| mode | recipe | correct | refused | other |", "|---|---|---|---|---|"]
    for mode, recipe in COLUMNS:
        outcomes = [x["outcome"] for (_, m, r), x in cells.items() if (m, r) == (mode, recipe)]
        right, refused = outcomes.count(RIGHT), outcomes.count(REFUSED)
        rest = len(outcomes) - right - refused
        lines.append(f"| {mode} | {recipe} | {right} | {refused} | {rest} |")
    return lines


def _table(cells: Cells, rows: list[str], notes: dict[str, int]) -> list[str]:
    heads = [f"{mode} {recipe}" for mode, recipe in COLUMNS]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in rows:
        marks = [_mark(cells.get((row, *column)), notes) for column in COLUMNS]
        lines.append(f"| {row} | {' | '.join(marks)} |")
    return lines


def _mark(cell: dict[str, Any] | None, notes: dict[str, int]) -> str:
    if cell is None:
        return "-"
    if cell["outcome"] == RIGHT:
        return "yes"
    if cell["outcome"] != REFUSED:
        return f"NO: {cell['outcome']}"
    return str(notes.setdefault(general(cell["reason"]), len(notes) + 1))


def general(reason: str) -> str:
    """A refusal's text without the parts specific to its row: names of layers, numbers."""
    text = re.sub(r"\(layer `\w+`\)", "", reason)
    text = re.sub(r"layer `[^`]*`(?: \(\w+\))?", "the layer", text)
    text = re.sub(r"(?:stream|sequence)-(\w+)", r"\1", text)
    text = re.sub(r"\d+\.\d+(?:e-?\d+)?", "...", text)
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


def _errors(cells: Cells, rows: list[str]) -> Iterator[str]:
    yield "| | int8 | int16x8 |"
    yield "|---|---|---|"
    for row in rows:
        shown = [_error(cells, row, recipe) for recipe in ("int8", "int16x8")]
        if any(shown):
            yield f"| {row} | {' | '.join(x or '-' for x in shown)} |"


def _error(cells: Cells, row: str, recipe: str) -> str:
    errors = [
        x["rmse_of_spread"]
        for (name, _, r), x in cells.items()
        if (name, r) == (row, recipe) and x["outcome"] == RIGHT
    ]
    return f"{100 * max(errors):.2f}" if errors else ""


def _excluded() -> Iterator[str]:
    for reason in Counter(LAYERS.values()):
        names = ", ".join(f"`{name}`" for name, text in LAYERS.items() if text == reason)
        yield f"- {names}: {reason}."
