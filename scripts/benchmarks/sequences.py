"""The time of a whole sequence, and the time per step of longer sequences."""

import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from kgated_edge import EdgeModel, SequenceModel

from benchmarks import other_runtimes, stock
from benchmarks.models import CELLS, SIZES, Sizes, model_of, noise, to_file
from benchmarks.tables import Row, judged
from benchmarks.timing import Run, medians_us

# The maximum time of "auto" relative to ONNX Runtime int8, all outputs.
SEQUENCE_TARGETS = {
    ("PeepholeLSTM", 128): 1.0,
    ("PeepholeLSTM", 512): 0.85,
    ("GRU", 128): 0.6,
    ("GRU", 512): 0.6,
}
# The maximum time per step of the longest sequence relative to the shortest.
LINEAR_TARGET = 1.15


def sequences(
    rounds: int,
    sizes: Sizes = SIZES,
    lengths: Iterable[int] = (64, 256),
    cells: Iterable[str] = CELLS,
    outputs: Iterable[bool] = (True, False),
) -> list[Row]:
    """Whole sequences with `dynamic`, all outputs or the last, in both lowerings."""
    cases = [
        (cell, features, units, length, each)
        for features, units in sizes
        for each in outputs
        for length in lengths
        for cell in cells
    ]
    stock_files, rows = tempfile.TemporaryDirectory(), []
    with stock_files as shared:
        actual = stock_floats(cases, Path(shared))
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                runs, auto = sequence_runs(*case, Path(folder))
                frames = noise(case[3], case[1])[None]
                runs["stock"] = other_runtimes.tflite_run(actual[case], frames)
                rows.append(sequence_row(*case, auto, medians_us(runs, rounds)))
    return rows


def sequence_runs(
    cell: str, features: int, units: int, length: int, each: bool, folder: Path
) -> tuple[dict[str, Run], str]:
    """Name to function for every way to run a sequence, and the lowering that "auto" chooses."""
    frames, model = noise(length, features), model_of(cell, features, units, each)
    layer, runs = model.layers[0], dict[str, Run]()
    options: dict[str, Any] = {"mode": "sequence", "length": length}
    auto = to_file(model, folder / "auto.tflite", "dynamic", **options)
    chosen = str(SequenceModel(auto).manifest.recipe["lowering"])
    for lowering in {"unrolled", "while"} - {chosen}:
        to_file(model, folder / f"{lowering}.tflite", "dynamic", lowering=lowering, **options)
    auto.rename(folder / f"{chosen}.tflite")
    for lowering in sorted({"unrolled", "while", chosen}):
        runs[lowering] = partial(SequenceModel(folder / f"{lowering}.tflite").run, frames)
    stream = EdgeModel(to_file(model, folder / "stream.tflite", "dynamic"))
    runs["stream"] = lambda: stream.run(frames)
    for name, path in other_runtimes.onnx_files(layer, folder).items():
        runs[f"onnxruntime {name}"] = other_runtimes.onnx_sequence(path, layer, frames)
    runs["torch"] = other_runtimes.torch_sequence(other_runtimes.torch_kind(layer), frames)
    return runs, chosen


def stock_floats(cases: list[Any], folder: Path) -> dict[Any, Path]:
    """The stock converter's float file of Keras's layer for each case."""
    jobs = []
    for n, (cell, features, units, length, each) in enumerate(cases):
        name = ("GRU reset before" if cell == "GRU" else "LSTM") + " sequences" * each
        path = str(folder / f"{n}.tflite")
        jobs.append(stock.Job(name, 1, "none", length, features, units, path))
    for job, why in zip(jobs, stock.run_jobs(jobs), strict=True):
        if why:
            raise RuntimeError(f"no stock file of {job}: {why}")
    return {case: Path(job.path) for case, job in zip(cases, jobs, strict=True)}


def sequence_row(
    cell: str, features: int, units: int, length: int, each: bool, auto: str, us: dict[str, float]
) -> Row:
    """One row: the time of "auto" relative to ONNX Runtime int8."""
    row = {
        "cell": cell,
        "F": features,
        "U": units,
        "T": length,
        "outputs": "each" if each else "last",
        "auto": auto,
        "unrolled_us": us["unrolled"],
        "while_us": us["while"],
        "stream_us": us["stream"],
        "onnxruntime_int8_us": us["onnxruntime int8"],
        "onnxruntime_float_us": us["onnxruntime float"],
        "torch_us": us["torch"],
        "stock_float_us": us["stock"],
    }
    target = SEQUENCE_TARGETS.get((cell, units)) if each else None
    return judged(row, us[auto] / us["onnxruntime int8"], target)


def linearity(
    rounds: int,
    lengths: tuple[int, ...] = (64, 256, 1024, 4096),
    cells: Iterable[str] = CELLS,
    size: tuple[int, int] = SIZES[0],
) -> list[Row]:
    """The time per step in sequences of growing length, all outputs, lowering "auto"."""
    rows = []
    for cell in cells:
        model, autos = model_of(cell, *size), dict[int, str]()
        runs = dict[str, Run]()
        for length in lengths:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "m.tflite")
                to_file(model, path, "dynamic", mode="sequence", length=length)
                edge = SequenceModel(path)
            autos[length] = str(edge.manifest.recipe["lowering"])
            runs[str(length)] = partial(edge.run, noise(length, size[0]))
        us = {int(name): total for name, total in medians_us(runs, rounds).items()}
        rows += linear_rows(cell, size, autos, us)
    return rows


def linear_rows(
    cell: str, size: tuple[int, int], autos: dict[int, str], us: dict[int, float]
) -> list[Row]:
    """Rows of the time per step relative to the shortest sequence; the longest has a target."""
    shortest, longest = min(us), max(us)
    first, rows = us[shortest] / shortest, []
    for length, total in us.items():
        row = {"cell": cell, "F": size[0], "U": size[1], "T": length, "auto": autos[length]}
        row |= {"run_us": total, "per_step_us": total / length}
        rows.append(
            judged(row, total / length / first, LINEAR_TARGET if length == longest else None)
        )
    return rows
