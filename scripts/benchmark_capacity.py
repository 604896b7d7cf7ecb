"""How many streams this machine carries at a period and a deadline, by engine and processes.

    python scripts/benchmark_capacity.py --period-ms 10 --deadline-ms 10 --json capacity.json

A pool of sessions on a PeepholeLSTM, `dynamic`: through LiteRT with `sessions=64`, and by the
native engine. The search is that of `kgated-edge realtime --pool --streams auto --workers N`, whose
run of `--seconds` then checks the number that it finds. A number that misses deadlines there is
lowered by a tenth, up to three times. Each search ends after 45 s, so the four rows take about
4 minutes; the trials are shown. A row that is not met says that the machine was too busy.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.models import SIZES, model_of, noise, to_file
from benchmarks.tables import Row, markdown, table
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.results import RealtimeResult
from kgated_edge.loadtest.plan import Plan
from kgated_edge.loadtest.runner import realtime
from kgated_edge.native.compiler import build
from kgated_edge.runtime.engines import ENGINES, NATIVE
from rich.console import Console

from kgated.atomic_write import check_writable, replace_file

CELL, STEPS, SESSIONS, LOWERED = "PeepholeLSTM", 64, 64, 3


def capacity_rows(
    folder: Path, units: int, workers: list[int], engines: list[str], **plan: Any
) -> list[Row]:
    """A row for each engine and number of processes.

    Args:
        folder: for the files.
        units: of the layer.
        workers: numbers of processes.
        engines: "litert", "native".
        plan: fields of `Plan`: period, deadline, seconds, misses.
    """
    features = next(features for features, size in SIZES if size == units)
    data = SequenceData(noise(STEPS, features, 1), np.array([STEPS]))
    rows = []
    for engine in engines:
        path = _file(folder, engine, features, units)
        for count in workers:
            settings = Plan(streams=None, pool=True, workers=count, engine=engine, **plan)
            say(f"{engine}, {count} process(es): ")
            result = _checked(path, data, settings)
            say(f" carries {result.streams}\n" if result.passed else " the machine is too busy\n")
            rows.append(
                {
                    "U": units,
                    "engine": engine,
                    "processes": count,
                    "streams": result.streams,
                    "streams_per_process": result.streams // count,
                    "period_ms": result.period_ms,
                    "deadline_ms": result.deadline_ms,
                    "compute_p50_us": result.compute.p50_us,
                    "misses": f"{result.deadline_misses} of {result.steps}",
                    "met": result.passed,
                }
            )
    return rows


def _checked(path: Path, data: SequenceData, plan: Plan) -> RealtimeResult:
    """The run with the streams that were found, or with fewer where that misses deadlines."""
    result = realtime(path, data, plan, on_trial=_show_trial)
    for _ in range(LOWERED):
        if result.passed or result.streams == 1:
            break
        fewer = max(1, result.streams * 9 // 10)
        result = realtime(path, data, replace(plan, streams=fewer))
        _show_trial(fewer, result.passed)
    return result


def _show_trial(streams: int, passed: bool) -> None:
    say(f"{streams} " if passed else f"({streams}) ")


def say(text: str) -> None:
    """Progress, not part of the table; a number in brackets has failed."""
    print(text, end="", file=sys.stderr, flush=True)


def _file(folder: Path, engine: str, features: int, units: int) -> Path:
    """The file for an engine, with its library."""
    model, path = model_of(CELL, features, units), folder / f"{engine}.tflite"
    more: dict[str, Any] = {"target": "c"} if engine == NATIVE else {"sessions": SESSIONS}
    to_file(model, path, "dynamic", mode="stream", **more)
    if engine == NATIVE:
        build(path.with_suffix(".c"))
    return path


def main(
    period_ms: Annotated[float, typer.Option(help="Between two frames of a stream.")] = 10.0,
    deadline_ms: Annotated[float, typer.Option(help="From arrival to the end of the step.")] = 10.0,
    seconds: Annotated[float, typer.Option(help="Length of the run that checks.")] = 10.0,
    max_misses: Annotated[int, typer.Option(help="Deadlines that a run may miss.")] = 0,
    units: Annotated[int, typer.Option(help="128 or 512.")] = 128,
    workers: Annotated[
        list[int] | None, typer.Option(help="Processes; may be given again. Else 1 and all cores.")
    ] = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="litert or native; may be given again. Else both.")
    ] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A table for a page.")] = False,
    out: Annotated[Path | None, typer.Option("--json", help="Write the rows here.")] = None,
) -> None:
    """Search, print the table."""
    if out is not None:
        check_writable(out)
    counts = workers or sorted({1, len(os.sched_getaffinity(0))})
    plan = {"period_ms": period_ms, "deadline_ms": deadline_ms, "seconds": seconds}
    with tempfile.TemporaryDirectory() as name:
        rows = capacity_rows(
            Path(name), units, counts, engine or list(ENGINES), max_misses=max_misses, **plan
        )
    title = "Streams that this machine carries"
    if as_markdown:
        print(markdown(rows, title))
    else:
        Console(width=150).print(table(rows, title))
    if out is not None:
        replace_file(out, json.dumps(rows, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
