"""Time of a training step of the minimal cells, compared with GRU in the same run.

It times forward and backward passes over T frames of compiled models on the current Keras backend,
interleaved:

    KERAS_BACKEND=jax python scripts/benchmark_minimal.py
"""

import json
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from benchmarks.tables import table
from rich.console import Console

import kgated
from kgated.atomic_write import check_writable, replace_file

SHAPES = ((1, 16, 64), (4, 16, 64), (8, 8, 32), (32, 16, 64))  # batch, features, units
LAYERS: dict[str, Any] = {
    "MinGRU": kgated.MinGRU,
    "MinLSTM": kgated.MinLSTM,
    "GRU": kgated.GRU,
    "Keras's GRU": keras.layers.GRU,
}


def step_of(layer: Any, batch: int, frames: int, features: int, units: int) -> Any:
    """A compiled training step on seeded noise."""
    model = keras.Sequential([keras.Input((frames, features)), layer(units), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=keras.backend.backend() == "jax")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, frames, features)).astype(np.float32)
    y = rng.normal(size=(batch, 1)).astype(np.float32)
    return lambda: model.train_on_batch(x, y)


def rows_of(frames: int, rounds: int, shapes: Any = SHAPES) -> list[dict[str, Any]]:
    """A row per shape: median milliseconds of each layer, and GRU's time over MinGRU's."""
    rows = []
    for batch, features, units in shapes:
        steps = {n: step_of(c, batch, frames, features, units) for n, c in LAYERS.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for n in range(rounds + 1):  # the first round compiles
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if n:
                    times[name].append(1e3 * (time.perf_counter() - start))
        ms = {name: statistics.median(values) for name, values in times.items()}
        row = {"batch": batch, "frames": frames, "features": features, "units": units}
        rows.append({**row, **ms, "GRU / MinGRU": ms["GRU"] / ms["MinGRU"]})
    return rows


def main(
    frames: Annotated[int, typer.Option(min=2)] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Measurement rounds per layer.")] = 9,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Time a training step of each layer, and print the table."""
    if out is not None:
        check_writable(out)
    rows = rows_of(frames, rounds)
    Console().print(table(rows, f"Training step on {keras.backend.backend()}, median ms"))
    if out is not None:
        replace_file(out, json.dumps(rows, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
