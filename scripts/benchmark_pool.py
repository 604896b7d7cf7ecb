"""Many streams as matrices, and blocks of frames: what they cost, medians in turns in one run.

    python scripts/benchmark_pool.py --json pool.json --chart docs/images/blocks.png

Rows: 64 ready sessions of a file with `sessions=64` against `EdgeModel.step` of one; a lone session
in that file against one in a file without; the sizes of both files; blocks of k frames against
frame by frame; LSTMs on single samples at 48 kHz, as a real-time factor.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.models import model_of, noise
from benchmarks.tables import table
from benchmarks.themes import save_in_themes, theme_paths
from benchmarks.timing import Run, medians_us
from kgated_edge import EdgeModel, SessionPool
from rich.console import Console

import kgated
from kgated.atomic_write import check_writable, replace_file
from kgated.optional_imports import from_demo

SESSIONS, SAMPLE_RATE = 64, 48_000
POOL_SIZES = ((128, 40), (512, 128))  # units, features
CALLS = 10  # in a turn: short, so that few turns are interrupted on a busy machine
BLOCKS = (1, 2, 4, 8, 16)
BLOCK_CELLS = ("PeepholeLSTM", "GRU")
AUDIO_UNITS, AUDIO_BLOCKS = (16, 40), (32, 512)


def convert(path: Path, cell: str, features: int, units: int, **options: Any) -> Path:
    """A stream file of one layer, dynamic."""
    model = model_of(cell, features, units)
    kgated.to_tflite(model, path, mode="stream", quantize="dynamic", **options)
    return path


def pool_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each size of `POOL_SIZES`."""
    rows = []
    for units, features in POOL_SIZES:
        plain = convert(folder / "plain.tflite", "PeepholeLSTM", features, units)
        many = convert(folder / "many.tflite", "PeepholeLSTM", features, units, sessions=SESSIONS)
        calls = CALLS if units < 256 else 1
        us = medians_us(pool_runs(plain, many, features), rounds, calls)
        step, size = us["step"], many.stat().st_size / plain.stat().st_size
        rows.append(
            {
                "units": units,
                "features": features,
                "step_us": step,
                "pool_us_per_session": us["pool"] / SESSIONS,
                "pool_ratio": us["pool"] / SESSIONS / step,
                "in_turn_ratio": us["in turn"] / SESSIONS / step,
                "lone_ratio": us["lone, many"] / us["lone, plain"],
                "size_ratio": size,
            }
        )
    return rows


def pool_runs(plain: Path, many: Path, features: int) -> dict[str, Run]:
    """What is measured of one size, by name."""
    frames = noise(SESSIONS, features)
    edge, pools = EdgeModel(plain), [SessionPool(plain), SessionPool(many)]
    sessions = [[pool.open() for _ in range(SESSIONS)] for pool in pools]
    return {
        "step": lambda: edge.step(frames[0]),
        "in turn": lambda: pools[0].step(sessions[0], frames),
        "pool": lambda: pools[1].step(sessions[1], frames),
        "lone, plain": lambda: sessions[0][0].step(frames[0]),
        "lone, many": lambda: sessions[1][0].step(frames[0]),
    }


def block_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each cell and block, U=128, F=40."""
    rows = []
    for cell in BLOCK_CELLS:
        runs = dict[str, Run]()
        for size in BLOCKS:
            path = convert(folder / f"{cell}{size}.tflite", cell, 40, 128, block=size)
            runs[str(size)] = step_of(path, 40)
        us = {int(name): value for name, value in medians_us(runs, rounds, CALLS).items()}
        rows += [
            {
                "cell": cell,
                "block": size,
                "us_per_frame": us[size] / size,
                "ratio": us[size] / size / us[1],
                "latency_frames": size - 1,
            }
            for size in BLOCKS
        ]
    return rows


def audio_rows(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """A row for each LSTM and block on single samples."""
    runs = dict[str, Run]()
    for units in AUDIO_UNITS:
        for size in AUDIO_BLOCKS:
            path = convert(folder / f"a{units}_{size}.tflite", "LSTM", 1, units, block=size)
            runs[f"{units} {size}"] = step_of(path, 1)
    rows = []
    for name, us in medians_us(runs, rounds, 1).items():
        units, size = map(int, name.split())
        factor = us / 1e6 / (size / SAMPLE_RATE)
        rows.append({"units": units, "block": size, "us_per_block": us, "real_time_factor": factor})
    return rows


def draw_blocks(rows: list[dict[str, Any]]) -> Any:
    """A chart of the cost of a frame against the frames that its result may wait for."""
    figure = from_demo("matplotlib.figure").Figure(figsize=(6, 3.5), layout="constrained", dpi=120)
    axes = figure.subplots()
    for cell in dict.fromkeys(row["cell"] for row in rows):
        own = [row for row in rows if row["cell"] == cell]
        latency, cost = ([row[name] for row in own] for name in ("latency_frames", "us_per_frame"))
        axes.plot(latency, cost, marker="o", label=cell)
    axes.set_xlabel("frames that the first result of a block waits for (k - 1)")
    axes.set_ylabel("time per frame, µs")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def step_of(path: Path, features: int) -> Run:
    """A step of a file, on as many frames as it takes."""
    edge = EdgeModel(path)
    size = edge.manifest.frames_per_step
    frames: np.ndarray = noise(size, features)
    return lambda: edge.step(frames if size > 1 else frames[0])


def main(
    rounds: Annotated[int, typer.Option(help="Measurement rounds per candidate.")] = 60,
    output: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
    chart: Annotated[
        Path | None,
        typer.Option(help="Image for the plot of block sizes; -light and -dark join its name."),
    ] = None,
) -> None:
    """Measure pools and blocks, 18 conversions first."""
    targets = [] if chart is None else theme_paths(chart).values()
    for path in (output, *targets):
        if path is not None:
            check_writable(path)
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as name:
        parts = {"pool": pool_rows, "blocks": block_rows, "audio": audio_rows}
        rows = {title: measure(Path(name), rounds) for title, measure in parts.items()}
    if chart is not None:
        save_in_themes(lambda: draw_blocks(rows["blocks"]), chart)
    for title, part in rows.items():
        console.print(table(part, title))
    if output is not None:
        replace_file(output, json.dumps(rows, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
