"""What each engine takes for the same layer: the native engine, LiteRT, ONNX Runtime, and others.

    python scripts/benchmark_engines.py --only engines --environments DIR

installs OpenVINO, tract, ncnn and PyTorch into environments of their own in DIR, and runs each in a
process of its own.

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
from benchmarks.models import CELLS, SIZES
from benchmarks.peers import rows
from benchmarks.tables import Row, markdown, missed, table
from rich.console import Console

from kgated.atomic_write import check_writable, replace_file

TOOLS = ("kgated", "ai-edge-litert", "onnxruntime")


class Section(StrEnum):
    """A part of the benchmark, by the name of its option."""

    STEPS = "steps"
    SEQUENCES = "sequences"
    ENGINES = "engines"


RUNS: dict[Section, Callable[..., list[Row]]] = {
    Section.STEPS: native.steps,
    Section.SEQUENCES: native.sequences,
    Section.ENGINES: rows.engines,
}
TITLES = {
    Section.STEPS: "One step of a stream; ratio: native over ONNX Runtime int8",
    Section.SEQUENCES: "A whole sequence; ratio: native over ONNX Runtime int8",
    Section.ENGINES: "Engines side by side; largest error against Keras",
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
    environments: Annotated[
        Path, typer.Option(help="Environments of other engines, made here once.")
    ] = Path("build/engines"),
    cell: Annotated[
        list[str] | None, typer.Option(help="A layer of the section engines; else all.")
    ] = None,
    units: Annotated[
        list[int] | None, typer.Option(help="A size of the section engines; else all.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Measure, print the tables, and say which targets are missed."""
    if out is not None:
        check_writable(out)
    result: dict[str, Any] = {"tools": {name: version(name) for name in TOOLS}}
    summary = min if fastest else statistics.median
    for section in only or list(Section):
        options: dict[str, Any] = {}
        if section is Section.SEQUENCES and length:
            options["lengths"] = length
        if section is Section.ENGINES:
            options = _of_engines(environments, cell, units)
        measured = RUNS[section](rounds, summary=summary, **options)
        show(measured, section, as_markdown)
        result[section.value] = measured
    if out is not None:
        replace_file(out, json.dumps(result, indent=2).encode())


def _of_engines(folder: Path, cells: list[str] | None, units: list[int] | None) -> dict[str, Any]:
    """The arguments of the section that are given."""
    sizes = tuple(size for size in SIZES if not units or size[1] in units)
    return {"folder": folder, "sizes": sizes, "cells": cells or CELLS}


def show(measured: list[Row], section: Section, as_markdown: bool) -> None:
    """Prints a table, and how many targets are met."""
    if as_markdown:
        print(markdown(measured, TITLES[section]))
    else:
        Console(width=190).print(table(measured, TITLES[section]))
    judged = [row for row in measured if row["met"] is not None]
    if judged:
        print(f"{section}: {len(judged) - len(missed(measured))} of {len(judged)} targets met\n")


if __name__ == "__main__":
    typer.run(main)
