"""What a step costs on the device side.

`EdgeModel.step` against the bare `Interpreter.invoke()`, and against ONNX Runtime called per frame
with the same weights. One thread, batch 1, interleaved.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import onnx
import onnxruntime
import typer
from kgated_edge import EdgeModel
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich.console import Console
from rich.table import Table

import kgated
from kgated.files import check_writable, replace_file
from kgated.interop import to_onnx

Step = Callable[[], Any]
STEPS_PER_ROUND = 200
PEERS = {"none": "float", "dynamic": "int8"}  # ONNX Runtime's precision beside each recipe


def peer_step(path: Path, states: int, frame: np.ndarray, units: int) -> Step:
    """ONNX Runtime fed one frame per call, its state carried by the caller."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    feed = {"X": frame[None, None]}
    names = ["initial_h", "initial_c"][:states]
    feed |= {name: np.zeros((1, 1, units), np.float32) for name in names}
    outputs = ["Y_h", "Y_c"][:states]

    def step() -> None:
        feed.update(zip(names, session.run(outputs, feed), strict=True))

    return step


def candidates(folder: Path, cell: type, features: int, units: int) -> dict[str, Step]:
    """Every way to run one step of one cell, by name, all with the same weights."""
    frame = np.random.default_rng(0).normal(size=features).astype(np.float32)
    model = keras.Sequential([keras.Input((None, features)), cell(units)])
    layer, found = model.layers[0], {}
    onnx.save(to_onnx(layer, state_inputs=True), folder / "float.onnx")
    quantize_dynamic(folder / "float.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)
    for recipe, peer in PEERS.items():
        path = folder / f"{recipe}.tflite"
        kgated.to_tflite(model, path, quantize=recipe)
        edge = EdgeModel(path)
        found[f"{recipe} invoke"] = edge._interpreter.invoke
        found[f"{recipe} step"] = lambda edge=edge: edge.step(frame)
        states = len(layer.state_size)
        found[f"{recipe} peer"] = peer_step(folder / f"{peer}.onnx", states, frame, units)
    return found


def measure(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median µs per call of each, run in turn so that a slow moment of the machine hits all."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            start = time.perf_counter_ns()
            for _ in range(STEPS_PER_ROUND):
                step()
            times[name].append((time.perf_counter_ns() - start) / STEPS_PER_ROUND / 1000)
    return {name: statistics.median(values) for name, values in times.items()}


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


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """The rows for a terminal."""
    drawn = Table(title=title)
    for name in rows[0]:
        drawn.add_column(name.replace("_", " "), justify="right")
    for line in rows:
        drawn.add_row(*(f"{v:.2f}" if isinstance(v, float) else v for v in line.values()))
    return drawn


def main(
    features: Annotated[int, typer.Option(min=1, help="Features per frame.")] = 40,
    units: Annotated[int, typer.Option(min=1, help="Units of the cell.")] = 128,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds of 200 steps of each.")] = 60,
    out: Annotated[Path | None, typer.Option("--json", help="Write the rows here.")] = None,
) -> None:
    """Measure and print the table; µs are medians of `rounds` rounds of 200 steps."""
    if out is not None:
        check_writable(out)
    rows = []
    for cell in (kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU):
        with tempfile.TemporaryDirectory() as folder:
            us = measure(candidates(Path(folder), cell, features, units), rounds)
        rows += [row(cell.__name__, recipe, us) for recipe in PEERS]
    title = f"One step, F={features}, U={units}, batch 1, one thread, median µs"
    Console().print(table(rows, title))
    if out is not None:
        replace_file(out, json.dumps(rows, indent=2).encode())


if __name__ == "__main__":
    typer.run(main)
