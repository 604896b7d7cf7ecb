"""Conversion coverage: layers, operations and activations of Keras, by five recipes per mode.

The result is a table of outcomes: correct, refused with a remedy, or anything else. The JSON file
is written after each conversion, and an interrupted run continues from it.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import typer
from benchmarks.coverage import activations, layers, operations
from benchmarks.coverage.page import COLUMNS, REFUSED, RIGHT, Cells, page
from benchmarks.worker_pool import WorkerProcess
from rich.progress import Progress

from kgated.atomic_write import check_writable, replace_file

WORKER = "benchmarks.coverage.worker"
ORDER = ("none", "int8", "int16x8", "mcu int8", "dynamic")
COMMAND = "python scripts/benchmark_coverage.py --write docs/coverage.md"


def jobs_of(names: list[str], cells: Cells) -> list[dict[str, str]]:
    """The table cells of the rows that have no outcome yet."""
    return [
        {"row": name, "mode": mode, "recipe": recipe}
        for mode, recipe in sorted(COLUMNS, key=lambda column: ORDER.index(column[1]))
        for name in names
        if (name, mode, recipe) not in cells
    ]


def key_of(cell: dict[str, Any]) -> tuple[str, str, str]:
    """The position of a cell in the table."""
    return cell["row"], cell["mode"], cell["recipe"]


def load(path: Path | None) -> Cells:
    """The cells of an earlier run."""
    if path is None or not path.exists():
        return {}
    return {key_of(cell): cell for cell in json.loads(path.read_text())}


def convert_all(jobs: list[dict[str, str]], cells: Cells, path: Path | None, workers: int) -> None:
    """Run the conversions and save the cells after each."""
    idle: SimpleQueue[WorkerProcess] = SimpleQueue()
    pool = [WorkerProcess(WORKER) for _ in range(min(workers, len(jobs)))]
    for worker in pool:
        idle.put(worker)
    lock = threading.Lock()

    def convert(job: dict[str, str]) -> None:
        worker = idle.get()
        try:
            answer = worker.ask(job)
        finally:
            idle.put(worker)
        with lock:
            cells[key_of(job)] = {**job, "outcome": answer} if isinstance(answer, str) else answer
            progress.advance(bar)
            if path is not None:
                replace_file(path, json.dumps(list(cells.values()), indent=1).encode())

    with Progress() as progress, ThreadPoolExecutor(len(pool) or 1) as threads:
        bar = progress.add_task("conversions", total=len(jobs))
        list(threads.map(convert, jobs))
    for worker in pool:
        worker.end()


def main(
    only: Annotated[
        list[str] | None, typer.Option(help="A row to convert, repeatable. Default: all.")
    ] = None,
    again: Annotated[
        bool, typer.Option(help="Convert again each cell that is not correct.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Number of parallel processes.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option("--json", help="File of the cells: read at the start, updated after each."),
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Markdown page to write.")] = None,
) -> None:
    """Convert, print the cells that are neither correct nor refused, and write the page."""
    for path in filter(None, (out, write)):
        check_writable(path)
    tables = {
        title: [row.name for row in part.ROWS]
        for title, part in (
            ("Layers", layers),
            ("Operations", operations),
            ("Activations", activations),
        )
    }
    known = [name for names in tables.values() for name in names]
    rows = only or known
    cells = load(out)
    if again:
        cells = {k: x for k, x in cells.items() if x["outcome"] == RIGHT or k[0] not in rows}
    convert_all(jobs_of(rows, cells), cells, out, workers)
    cells = {key: cell for key, cell in cells.items() if key[0] in known}
    if write is not None:
        day = datetime.now(UTC).date().isoformat()
        replace_file(write, page(cells, tables, COMMAND, day).encode())
    rest = [x for k, x in cells.items() if k[0] in rows and x["outcome"] not in (RIGHT, REFUSED)]
    for cell in rest:
        print(*key_of(cell), cell["outcome"], str(cell.get("reason", ""))[:300], sep=": ")
    print(f"{len(cells)} cells, {len(rest)} neither correct nor refused with a remedy")
    sys.exit(bool(rest))


if __name__ == "__main__":
    typer.run(main)
