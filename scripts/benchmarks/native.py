"""What the native engine costs, beside LiteRT and ONNX Runtime int8."""

import statistics
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from kgated_edge import EdgeModel, SequenceModel
from kgated_edge.native.compiler import build

from benchmarks import other_runtimes
from benchmarks.models import CELLS, SIZES, Sizes, model_of, noise, to_file
from benchmarks.tables import Row, judged
from benchmarks.timing import Run, Summary, times_us

# The most that the native engine may take of ONNX Runtime's int8 time, `dynamic`, by U.
STEP_TARGETS = {128: 0.12, 512: 0.45}
SEQUENCE_TARGETS = {"dynamic": {128: 0.7, 512: 0.95}, "dynamic4": {512: 0.7}}
RECIPES = ("none", "dynamic")


def steps(
    rounds: int,
    sizes: Sizes = SIZES,
    cells: Iterable[str] = CELLS,
    summary: Summary = statistics.median,
) -> list[Row]:
    """A step by every engine: the call from Python, and the C step alone."""
    rows = []
    for features, units in sizes:
        for cell in cells:
            with tempfile.TemporaryDirectory() as folder:
                runs = step_runs(cell, features, units, Path(folder))
                us = times_us(runs, rounds, summary)
            for recipe in RECIPES:
                target = STEP_TARGETS.get(units) if recipe == "dynamic" else None
                row = _row(cell, features, units, 1, recipe, us)
                row["c_alone_us"] = us[f"{recipe} c"]
                rows.append(judged(row, us[f"{recipe} native"] / us["onnxruntime int8"], target))
    return rows


def step_runs(cell: str, features: int, units: int, folder: Path) -> dict[str, Run]:
    """Every way to run a step, by name."""
    frame, model = noise(1, features)[0], model_of(cell, features, units)
    runs = dict[str, Run]()
    for recipe in RECIPES:
        path = to_file(model, folder / f"{recipe}.tflite", recipe, target="c", mode="stream")
        build(path.with_suffix(".c"))
        native = EdgeModel(path, engine="native")
        runs[f"{recipe} litert"] = partial(EdgeModel(path).step, frame)
        runs[f"{recipe} native"] = partial(native.step, frame)
        native.step(frame)
        runs[f"{recipe} c"] = native._interpreter.invoke
    for name, path in other_runtimes.onnx_files(model.layers[0], folder).items():
        runs[f"onnxruntime {name}"] = other_runtimes.onnx_step(path, model.layers[0], frame)
    return runs


def sequences(
    rounds: int,
    sizes: Sizes = SIZES,
    lengths: Iterable[int] = (64, 256),
    cells: Iterable[str] = CELLS,
    summary: Summary = statistics.median,
) -> list[Row]:
    """A whole sequence by every engine, a result per frame."""
    rows = []
    for features, units in sizes:
        for length in lengths:
            for cell in cells:
                with tempfile.TemporaryDirectory() as folder:
                    runs = sequence_runs(cell, features, units, length, Path(folder))
                    us = times_us(runs, rounds, summary)
                for recipe, targets in SEQUENCE_TARGETS.items():
                    row = _row(cell, features, units, length, recipe, us)
                    ratio = us[f"{recipe} native"] / us["onnxruntime int8"]
                    rows.append(judged(row, ratio, targets.get(units)))
    return rows


def sequence_runs(
    cell: str, features: int, units: int, length: int, folder: Path
) -> dict[str, Run]:
    """Every way to run a sequence, by name."""
    frames, model = noise(length, features), model_of(cell, features, units)
    options: dict[str, Any] = {"mode": "sequence", "length": length, "target": "c"}
    runs = dict[str, Run]()
    for recipe in SEQUENCE_TARGETS:
        path = to_file(model, folder / f"{recipe}.tflite", recipe, **options)
        build(path.with_suffix(".c"))
        runs[f"{recipe} litert"] = partial(SequenceModel(path).run, frames)
        runs[f"{recipe} native"] = partial(SequenceModel(path, engine="native").run, frames)
    for name, file in other_runtimes.onnx_files(model.layers[0], folder).items():
        runs[f"onnxruntime {name}"] = other_runtimes.onnx_sequence(file, model.layers[0], frames)
    return runs


def _row(
    cell: str, features: int, units: int, length: int, recipe: str, us: dict[str, float]
) -> Row:
    return {
        "cell": cell,
        "F": features,
        "U": units,
        "T": length,
        "quantize": recipe,
        "native_us": us[f"{recipe} native"],
        "litert_us": us[f"{recipe} litert"],
        "onnxruntime_int8_us": us["onnxruntime int8"],
        "onnxruntime_float_us": us["onnxruntime float"],
    }
