"""Deployment benchmark: which models convert, and the cost of a file compared with other runtimes.

Times are medians at batch 1 on one thread; the candidates of a row run in turns. `kgated` is
compared with ONNX Runtime in float and int8 on the same weights, with PyTorch, whose LSTM has no
peepholes and whose GRU resets after the product, and with the stock TFLite conversion of Keras's
layers, which uses an LSTM without peepholes.
"""

import json
import os
from collections.abc import Callable
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from benchmarks import integers, process_isolation, sequences, steps
from benchmarks.matrix import matrix as run_matrix
from benchmarks.tables import Row, markdown, missed, table
from rich.console import Console

from kgated.atomic_write import check_writable, replace_file

TOOLS = ("kgated", "keras", "tensorflow", "ai-edge-litert", "onnxruntime", "torch")


class Section(StrEnum):
    """A part of the benchmark, by the name of its option."""

    MATRIX = "matrix"
    STEPS = "steps"
    SEQUENCES = "sequences"
    LINEARITY = "linearity"
    INT8 = "int8"
    SIZES = "sizes"
    WORKER = "worker"


TITLES = {
    Section.MATRIX: "Whole-sequence conversions, both batches, three recipes, run and compared",
    Section.STEPS: "One step of a stream; ratio: `step` over ONNX Runtime int8",
    Section.SEQUENCES: "A whole sequence, `dynamic`; ratio: `auto` over ONNX Runtime int8",
    Section.LINEARITY: "A step of longer sequences, `dynamic`; ratio: over the shortest's",
    Section.INT8: "Static int8 over a whole sequence; ratio: over the peer",
    Section.SIZES: "Bytes of a stream's file; ratio: over those allowed",
    Section.WORKER: "A conversion, by the process that the converter works in",
}


def measure(section: Section, rounds: int) -> tuple[list[Row], dict[str, str]]:
    """The rows of a section, and its failures by name."""
    if section is Section.MATRIX:
        return run_matrix()
    if section is Section.SIZES:
        return integers.sizes(), {}
    runs: dict[Section, Callable[[int], list[Row]]] = {
        Section.STEPS: steps.steps,
        Section.SEQUENCES: sequences.sequences,
        Section.LINEARITY: sequences.linearity,
        Section.INT8: integers.static_int8,
        Section.WORKER: process_isolation.conversions,
    }
    return runs[section](rounds), {}


def show(section: Section, rows: list[Row], failed: dict[str, str], as_markdown: bool) -> None:
    """Print the table, the failures and the number of missed targets."""
    if as_markdown:
        print(markdown(rows, TITLES[section]))
    else:
        Console(width=170).print(table(rows, TITLES[section]))
    for name, why in failed.items():
        print(f"{name}: {why}")
    judged = [row for row in rows if row["met"] is not None]
    print(f"{section}: {len(judged) - len(missed(rows))} of {len(judged)} targets met\n")


def main(
    only: Annotated[
        list[Section] | None, typer.Option(help="A section to run, repeatable. Default: all.")
    ] = None,
    matrix: Annotated[bool, typer.Option(help="Count conversions, which takes minutes.")] = True,
    rounds: Annotated[int, typer.Option(min=3, help="Measurement rounds per candidate.")] = 40,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Measure, print the tables, and report missed targets."""
    if out is not None:
        check_writable(out)
    result: dict[str, Any] = {"tools": {name: version(name) for name in TOOLS}}
    for section in only or [s for s in Section if matrix or s is not Section.MATRIX]:
        load = os.getloadavg()[0]
        rows, failed = measure(section, rounds)
        print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after")
        show(section, rows, failed, as_markdown)
        result[section] = {"load_average": load, "rows": rows, "failed": failed}
    if out is not None:
        replace_file(out, json.dumps(result, indent=1).encode())


if __name__ == "__main__":
    typer.run(main)
