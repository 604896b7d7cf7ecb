"""The time of a step in a stream."""

import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from kgated_edge import EdgeModel

from benchmarks import other_runtimes
from benchmarks.models import CELLS, SIZES, Sizes, model_of, noise, to_file
from benchmarks.tables import Row, judged
from benchmarks.timing import Run, medians_us

STEP_RECIPES = ("none", "dynamic", "dynamic4", "int8")
# U to the maximum time of `dynamic` relative to ONNX Runtime int8.
STEP_TARGETS = {128: 0.25, 512: 0.6}


def steps(rounds: int, sizes: Sizes = SIZES, cells: Iterable[str] = CELLS) -> list[Row]:
    """The time of `EdgeModel.step` for each cell, size and recipe."""
    rows = []
    for features, units in sizes:
        for cell in cells:
            with tempfile.TemporaryDirectory() as folder:
                us = medians_us(step_runs(cell, features, units, Path(folder)), rounds)
            rows += [step_row(cell, features, units, recipe, us) for recipe in STEP_RECIPES]
    return rows


def step_runs(cell: str, features: int, units: int, folder: Path) -> dict[str, Run]:
    """Name to function for every way to run a step."""
    frame, model = noise(1, features)[0], model_of(cell, features, units)
    layer, runs = model.layers[0], dict[str, Run]()
    for recipe in STEP_RECIPES:
        edge = EdgeModel(to_file(model, folder / f"{recipe}.tflite", recipe))
        runs[recipe] = partial(edge.step, frame)
    for name, path in other_runtimes.onnx_files(layer, folder).items():
        runs[f"onnxruntime {name}"] = other_runtimes.onnx_step(path, layer, frame)
    runs["torch"] = other_runtimes.torch_step(other_runtimes.torch_kind(layer), frame)
    return runs


def step_row(cell: str, features: int, units: int, recipe: str, us: dict[str, float]) -> Row:
    """One row: kgated's time relative to ONNX Runtime int8."""
    row = {
        "cell": cell,
        "F": features,
        "U": units,
        "quantize": recipe,
        "step_us": us[recipe],
        "onnxruntime_int8_us": us["onnxruntime int8"],
        "onnxruntime_float_us": us["onnxruntime float"],
        "torch_us": us["torch"],
    }
    target = STEP_TARGETS.get(units) if recipe == "dynamic" else None
    return judged(row, us[recipe] / us["onnxruntime int8"], target)
