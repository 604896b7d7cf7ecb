"""What each engine takes for the same layer: the native engine, LiteRT, ONNX Runtime.

Batch 1, one thread, medians or the fastest turns, everything of a row in turns. The ratio is the
native engine's time over that of ONNX Runtime int8.
"""

import json
import statistics
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks import native
from benchmarks.tables import Row, markdown, missed, table
from rich.console import Console

from kgated.atomic_write import check_writable, replace_file

TOOLS = ("kgated", "ai-edge-litert", "onnxruntime")


class Section(StrEnum):
    """A part of the benchmark, by the name of its option."""

    STEPS = "steps"
    SEQUENCES = "sequences"


RUNS: dict[Section, Callable[..., list[Row]]] = {
    Section.STEPS: native.steps,
    Section.SEQUENCES: native.sequences,
}
TITLES = {
    Section.STEPS: "One step of a stream; ratio: native over ONNX Runtime int8",
    Section.SEQUENCES: "A whole sequence, `dynamic`; ratio: native over ONNX Runtime int8",
}


def main(
    only: Annotated[
        list[Section] | None, typer.Option(help="A section to run, repeatable. Default: all.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Measurement rounds per candidate.")] = 40,
    length: Annotated[
        list[int] | None, typer.Option(help="Frames of a sequence; may be repeated.")
    ] = None,
    fastest: Annotated[
        bool, typer.Option("--fastest", help="Report the fastest round, for a loaded machine.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Measure, print the tables, and say which targets are missed."""
    if out is not None:
        check_writable(out)
    result: dict[str, Any] = {"tools": {name: version(name) for name in TOOLS}}
    summary = min if fastest else statistics.median
    for section in only or list(Section):
        options = {"lengths": length} if length and section is Section.SEQUENCES else {}
        rows = RUNS[section](rounds, summary=summary, **options)
        if as_markdown:
            print(markdown(rows, TITLES[section]))
        else:
            Console(width=170).print(table(rows, TITLES[section]))
        judged = [row for row in rows if row["met"] is not None]
        print(f"{section}: {len(judged) - len(missed(rows))} of {len(judged)} targets met\n")
        result[section.value] = rows
    if out is not None:
        replace_file(out, json.dumps(result, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
