"""Step time of the device runner.

The first table compares `EdgeModel.step` with the bare `Interpreter.invoke()` and with ONNX
Runtime, called per frame with the same weights. The second runs many streams, as sessions of a pool
and as clones. The third measures the time that an event detector and a monitor add to a step. All
run on one thread at batch 1, interleaved.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from benchmarks.models import CELLS, model_of, noise
from benchmarks.other_runtimes import onnx_files, onnx_step
from benchmarks.tables import table
from benchmarks.timing import Run, medians_us
from kgated_edge import (
    ClassThreshold,
    EdgeModel,
    EventDetector,
    EventSettings,
    FieldMonitor,
    Session,
    SessionPool,
)
from kgated_edge.format.feature_statistics import FeatureStatistics
from rich.console import Console

import kgated
from kgated.atomic_write import check_writable, replace_file

STEPS_PER_ROUND = 200
CLASSES = (2, 12, 100)
STREAMS, MAX_CLONES = [100, 1000, 3000, 10000], 256
PEERS = {"none": "float", "dynamic": "int8"}  # ONNX Runtime's precision beside each recipe


def candidates(folder: Path, cell: str, features: int, units: int) -> dict[str, Run]:
    """Name to function for every way to run one step of a cell, all with the same weights."""
    frame, model = noise(1, features)[0], model_of(cell, features, units, each=False)
    layer, candidates_by_name = model.layers[0], {}
    files = onnx_files(layer, folder)
    for recipe, peer in PEERS.items():
        path = folder / f"{recipe}.tflite"
        kgated.to_tflite(model, path, quantize=recipe)
        edge = EdgeModel(path)
        candidates_by_name[f"{recipe} invoke"] = edge._interpreter.invoke
        candidates_by_name[f"{recipe} step"] = lambda edge=edge: edge.step(frame)
        candidates_by_name[f"{recipe} peer"] = onnx_step(files[peer], layer, frame)
    return candidates_by_name


def row(cell: str, recipe: str, us: dict[str, float]) -> dict[str, Any]:
    """One line of the table, units in the names."""
    invoke, step, peer = (us[f"{recipe} {what}"] for what in ("invoke", "step", "peer"))
    return {
        "cell": cell,
        "quantize": recipe,
        "invoke_us": invoke,
        "step_us": step,
        "overhead_us": step - invoke,
        "onnxruntime_us": peer,
        "step_over_onnxruntime": step / peer,
    }


def crowd(path: Path, features: int, counts: list[int], rounds: int) -> list[dict[str, Any]]:
    """Time per frame of many streams that take one frame each, compared with a single model."""
    model, pool, runs = EdgeModel(path), SessionPool(path), dict[str, Run]()
    for count in counts:
        frames = noise(count, features)
        sessions = [pool.open() for _ in range(count)]
        clones = [model.clone() for _ in range(min(count, MAX_CLONES))]
        runs[f"{count} alone"] = partial(in_turn, [model] * count, frames)
        runs[f"{count} rounds"] = partial(pool.step, sessions, frames)
        runs[f"{count} sessions"] = partial(in_turn, sessions, frames)
        runs[f"{count} clones"] = partial(in_turn, clones, frames)
    us = medians_us(runs, rounds, 1)
    return [_crowd_row(count, us) for count in counts]


def in_turn(models: Sequence[EdgeModel | Session], frames: np.ndarray) -> None:
    """Run one step of each model or session, with one frame each."""
    for model, frame in zip(models, frames, strict=False):
        model.step(frame)


def additions(path: Path, features: int, rounds: int) -> list[dict[str, Any]]:
    """Time of a step of the detector and of the monitor, compared with the model's step.

    The monitor's blocks are computed once in 256 steps, so its time is a mean.
    """
    model, frame = EdgeModel(path), noise(1, features)[0]
    statistics = {model.manifest.frame.name: FeatureStatistics.of(noise(4000, features))}
    manifest = replace(model.manifest, feature_statistics=statistics)
    monitor, result = FieldMonitor(manifest, lambda: model.state), model.step(frame)
    runs: dict[str, Run] = {"model step": lambda: model.step(frame)}
    block: dict[str, Run] = {"monitor": partial(repeat, lambda: monitor.watch(frame, result), 256)}
    for classes in CLASSES:
        for smoothing in ("mean", "exponential"):
            runs[f"events, {classes} classes, {smoothing}"] = detector_run(classes, smoothing)
    us = medians_us(runs, rounds, STEPS_PER_ROUND)
    us["monitor"] = medians_us(block, rounds, 2)["monitor"] / 256
    return [{"part": name, "us": value} for name, value in us.items()]


def detector_run(classes: int, smoothing: str) -> Run:
    """A step of a detector in which no class is active, the most common case."""
    settings = EventSettings(smoothing=smoothing, default=ClassThreshold(0.9, 0.8))
    detector = EventDetector([str(k) for k in range(classes)], 0.01, settings)
    scores = np.full(classes, 0.5, np.float32)
    return lambda: detector.step(scores)


def repeat(run: Run, count: int) -> None:
    """Call a function `count` times."""
    for _ in range(count):
        run()


def _crowd_row(count: int, us: dict[str, float]) -> dict[str, Any]:
    separate, rounds, sessions = (
        us[f"{count} {w}"] / count for w in ("alone", "rounds", "sessions")
    )
    return {
        "streams": count,
        "model_alone_us": separate,
        "pool_round_us": rounds,
        "pool_session_us": sessions,
        "clones_us": us[f"{count} clones"] / min(count, MAX_CLONES),
        "round_share_of_ideal": separate / rounds,
        "session_share_of_ideal": separate / sessions,
        "carried_in_10_ms": round(10_000 / rounds),
    }


def main(
    features: Annotated[int, typer.Option(min=1, help="Features per frame.")] = 40,
    units: Annotated[int, typer.Option(min=1, help="Units of the cell.")] = 128,
    rounds: Annotated[int, typer.Option(min=3, help="Measurement rounds of 200 steps.")] = 60,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the rows.")] = None,
) -> None:
    """Measure and print the table; µs are medians of `rounds` rounds of 200 steps."""
    if out is not None:
        check_writable(out)
    rows, crowds = [], dict[str, list[dict[str, Any]]]()
    for cell in CELLS:
        with tempfile.TemporaryDirectory() as folder:
            runs = candidates(Path(folder), cell, features, units)
            us = medians_us(runs, rounds, STEPS_PER_ROUND)
            crowds[cell] = crowd(Path(folder) / "dynamic.tflite", features, STREAMS, rounds // 2)
            added = additions(Path(folder) / "dynamic.tflite", features, rounds)
        rows += [row(cell, recipe, us) for recipe in PEERS]
    title = f"One step, F={features}, U={units}, batch 1, one thread, median µs"
    Console().print(table(rows, title))
    for cell, candidates_by_name in crowds.items():
        Console().print(
            table(candidates_by_name, f"{cell} dynamic, a frame of each of many streams, median µs")
        )
    Console().print(table(added, "What events and the monitor add to a step, median µs"))
    if out is not None:
        results = {"steps": rows, "streams": crowds, "additions": added}
        replace_file(out, json.dumps(results, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
