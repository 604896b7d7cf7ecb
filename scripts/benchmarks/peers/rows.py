"""The engines side by side: a step, 64 streams, a whole sequence; accuracy, µs, MiB."""

import statistics
import sys
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from kgated_edge.native.compiler import build
from kgated_edge.runtime.engines import LITERT, NATIVE

import kgated
from benchmarks import other_runtimes
from benchmarks.models import CELLS, SIZES, Sizes, model_of, noise, to_file
from benchmarks.peers.environments import environment
from benchmarks.peers.process import Peer, RefusedError
from benchmarks.tables import Row
from benchmarks.timing import MOST_CALLS, SLICE_US, Summary

ROOT = Path(__file__).parents[3]
STREAMS, LENGTH, FRAMES = 64, 64, 8
_IN_SPEC = ("cell", "features", "units", "steps", "batch")
_READS_ONNX = ("onnxruntime", "openvino", "tract")
MAX_ERROR = {"float": 1e-3, "int8": 0.1}
"""The largest error of results that are those of the layer."""
TASKS = {"step": (1, 1), "streams": (1, STREAMS), "sequence": (LENGTH, 1)}
"""By task the frames of a call and the streams in it."""


@dataclass(frozen=True)
class Engine:
    """A row of the tables.

    Attributes:
        module: `inside/run_MODULE.py`.
        precision: of the weights: "float" or "int8".
        packages: of its environment; none: that of this process.
        engine: of the runner of this project.
    """

    module: str
    precision: str
    packages: tuple[str, ...] = ()
    engine: str = ""

    @property
    def name(self) -> str:
        """What a row is called."""
        return f"{self.module}{' ' if self.engine else ''}{self.engine}"


ENGINES = (
    *(Engine("kgated", precision, engine=NATIVE) for precision in ("float", "int8")),
    *(Engine("kgated", precision, engine=LITERT) for precision in ("float", "int8")),
    *(Engine("onnxruntime", precision) for precision in ("float", "int8")),
    *(Engine("openvino", precision, ("openvino", "numpy")) for precision in ("float", "int8")),
    *(Engine("tract", precision, ("tract", "numpy")) for precision in ("float", "int8")),
    *(Engine("ncnn", precision, ("ncnn", "numpy")) for precision in ("float", "int8")),
    *(Engine("torch", precision, ("torch==2.13.0", "numpy")) for precision in ("float", "int8")),
)


def engines(
    rounds: int,
    folder: Path,
    sizes: Sizes = SIZES,
    cells: Iterable[str] = CELLS,
    summary: Summary = statistics.median,
) -> list[Row]:
    """A row for each engine, layer and task; those that cannot be made say why.

    Args:
        rounds: turns of each engine.
        folder: the environments of the engines, which are made there once.
        sizes: (F, U) of the layers.
        cells: the layers.
        summary: of the turns.
    """
    rows = []
    for features, units in sizes:
        for cell in cells:
            for task in TASKS:
                with tempfile.TemporaryDirectory() as name:
                    files = _Files(cell, features, units, task, Path(name))
                    rows += _rows(files, folder, rounds, summary)
    return rows


class _Files:
    """The files of a layer for a task, made where an engine asks for them."""

    def __init__(self, cell: str, features: int, units: int, task: str, folder: Path) -> None:
        self.cell, self.features, self.units, self.task = cell, features, units, task
        self.folder, (self.steps, self.batch) = folder, TASKS[task]
        self._model = _model(cell, features, units)
        frames = noise(max(FRAMES, self.steps), features, self.batch)
        expected = self._model.predict(frames, verbose=0)
        for name, array in (("frames", frames), ("expected", expected)):
            np.save(folder / f"{name}.npy", np.moveaxis(array, 0, 1))
        weights = [weight.numpy() for weight in self._model.layers[0].weights]
        np.savez(folder / "weights.npz", *weights)
        self._onnx = other_runtimes.onnx_files(self._model.layers[0], folder)

    def spec(self, engine: Engine) -> dict[str, Any]:
        """What an engine opens."""
        files = {name: str(self.folder / f"{name}.npy") for name in ("frames", "expected")}
        return {
            **files,
            "weights": str(self.folder / "weights.npz"),
            "onnx": str(self._onnx[engine.precision]),
            "tflite": str(self._tflite(engine)) if engine.engine else None,
            "engine": engine.engine,
            **{name: getattr(self, name) for name in _IN_SPEC},
            "precision": engine.precision,
        }

    def check(self, engine: Engine) -> None:
        """Raises `RefusedError` for an ONNX file that holds no integers."""
        if engine.precision == "float" or engine.module not in _READS_ONNX:
            return
        names = {node.op_type for node in onnx.load(self._onnx["int8"]).graph.node}
        if not any("Quantize" in name or "Integer" in name for name in names):
            raise RefusedError("ONNX Runtime's quantize_dynamic leaves the layer in float")

    def _tflite(self, engine: Engine) -> Path:
        is_native, recipe = engine.engine == NATIVE, {"float": "none", "int8": "dynamic"}
        options: dict[str, Any] = {"mode": "stream"}
        if self.task == "sequence":
            options = {"mode": "sequence", "length": LENGTH}
        if is_native:
            options["target"] = "c"
        elif self.task == "streams":
            options["sessions"] = STREAMS  # C takes any number together
        path = self.folder / f"{engine.precision}_{engine.engine}.tflite"
        to_file(self._model, path, recipe[engine.precision], **options)
        if is_native:
            build(path.with_suffix(".c"))
        return path


def _model(cell: str, features: int, units: int) -> keras.Model:
    """The layer; a GRU in the form that all engines have."""
    if cell != "GRU":
        return model_of(cell, features, units)
    keras.utils.set_random_seed(0)
    layer = kgated.GRU(units, return_sequences=True, reset_after=True, update_gate="state")
    return keras.Sequential([keras.Input((None, features)), layer])


def _rows(files: _Files, folder: Path, rounds: int, summary: Summary) -> list[Row]:
    with ExitStack() as stack:
        opened, refused = {}, {}
        for engine in ENGINES:
            try:
                files.check(engine)
                peer = stack.enter_context(_peer(engine, folder))
                about = peer.open(files.spec(engine))
                _check_error(engine, about["max_error"])
                opened[engine] = peer, about
            except RefusedError as error:
                refused[engine] = str(error)
        us = _times({engine: peer for engine, (peer, _) in opened.items()}, rounds, summary)
    rows = []
    for engine in ENGINES:
        about = opened[engine][1] if engine in opened else {}
        rows.append(_row(files, engine, us.get(engine), about, refused.get(engine)))
    return rows


def _check_error(engine: Engine, error: float) -> None:
    if not error <= MAX_ERROR[engine.precision]:
        raise RefusedError(f"its results are not those of the layer: they differ by {error:.2g}")


def _peer(engine: Engine, folder: Path) -> Peer:
    if not engine.packages:
        paths = (ROOT / "edge",) if engine.engine else ()
        return Peer(Path(sys.executable), engine.module, paths)
    own = environment(folder, engine.module, engine.packages)
    if own.python is None:
        raise RefusedError(own.reason)
    return Peer(own.python, engine.module)


def _times(peers: dict[Engine, Peer], rounds: int, summary: Summary) -> dict[Engine, float]:
    """µs per call of each, in turns."""
    calls = {}
    for engine, peer in peers.items():
        peer.time(2)
        calls[engine] = max(1, min(MOST_CALLS, int(SLICE_US / peer.time(3))))
    times: dict[Engine, list[float]] = {engine: [] for engine in peers}
    for _ in range(rounds):
        for engine, peer in peers.items():
            times[engine].append(peer.time(calls[engine]))
    return {engine: summary(values) for engine, values in times.items()}


def _row(
    files: _Files,
    engine: Engine,
    us: float | None,
    about: dict[str, Any],
    refused: str | None,
) -> Row:
    return {
        "cell": files.cell,
        "F": files.features,
        "U": files.units,
        "task": files.task,
        "engine": engine.name,
        "version": about.get("version"),
        "weights": engine.precision,
        "call_us": us,
        "stream_us": None if us is None else us / files.batch,
        "max_error": None if not about else f"{about['max_error']:.1e}",
        "peak_MiB": about.get("peak_mib"),
        "why_not": refused,
        "met": None,
    }
