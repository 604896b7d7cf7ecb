"""Time of one call in kgated-edge compared with LiteRT's benchmark tool, on the same files.

Both time only the call, without writing the input, on one thread. The tool's resolution is 10 µs;
the layers are so large that this is at most a few percent.
"""

import json
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.models import model_of, to_file
from benchmarks.tables import judged, markdown, missed, table
from kgated_edge import EdgeModel
from kgated_edge.measure.latency import spread, time_steps
from rich.console import Console
from rich.progress import track

from kgated.atomic_write import check_writable, replace_file

TOOL = "litert-benchmark"
FILES = (("LSTM", 768, "none"), ("PeepholeLSTM", 1024, "none"), ("GRU", 1536, "dynamic"))
FEATURES, CALLS, MAX_DIFFERENCE = 128, 200, 0.1


def tool_path() -> str:
    """The path of the benchmark tool in ai-edge-litert.

    Raises:
        FileNotFoundError: the package contains no such tool.
    """
    path = shutil.which(TOOL, path=sysconfig.get_path("scripts")) or shutil.which(TOOL)
    if path is None:
        raise FileNotFoundError(f"there is no {TOOL}: pip install 'ai-edge-litert>=2.3'")
    return path


def tool_ms(tool: str, path: Path, folder: Path) -> float:
    """The tool's median of one call, in ms."""
    result = folder / "tool.json"
    options = {"model": path, "num_runs": CALLS, "warmup_runs": 20, "num_threads": 1}
    command = [tool, *(f"--{name}={value}" for name, value in options.items())]
    subprocess.run([*command, f"--result_json={result}"], check=True, capture_output=True)
    return float(json.loads(result.read_text())["latency"]["median_ms"])


def median_us(call: Callable[[], None]) -> float:
    """The median of as many calls of kgated-edge, in µs."""
    times = np.zeros(CALLS, np.int64)
    time_steps(lambda _: call(), range(CALLS), times)
    return spread(times).p50_us


def measured(cell: str, units: int, quantize: str, rounds: int) -> dict[str, Any]:
    """Both times of one file, measured in turns; medians over the rounds."""
    tool = tool_path()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = to_file(model_of(cell, FEATURES, units), folder / "model.tflite", quantize)
        progress = Console(stderr=True)
        gated, reference, model = [], [], EdgeModel(path)
        for _ in track(range(rounds), f"{cell} U={units} {quantize}", console=progress):
            gated.append(median_us(model._interpreter.invoke))
            reference.append(tool_ms(tool, path, folder))
    us = statistics.median(gated)
    row = {"cell": cell, "units": units, "quantize": quantize, "ours_us": us}
    tool_us = statistics.median(reference) * 1e3
    apart = abs(us / tool_us - 1)
    return judged(row | {"litert_benchmark_us": tool_us}, apart, MAX_DIFFERENCE)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Measurement rounds of 200 calls.")] = 9,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Print both times of each file; exit with 1 if a pair differs by more than a tenth."""
    if out is not None:
        check_writable(out)
    rows = [measured(*file, rounds) for file in FILES]
    title = "One call, batch 1, one thread, medians; ratio: how far apart"
    Console().print(table(rows, title))
    print(markdown(rows, title))
    if out is not None:
        replace_file(out, json.dumps(rows, indent=2).encode())
    sys.exit(bool(missed(rows)))


if __name__ == "__main__":
    typer.run(main)
