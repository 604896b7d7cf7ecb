"""Static int8 over a whole sequence, and the size of a stream's file."""

import importlib.util
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kgated_edge import SequenceModel

from benchmarks import other_runtimes, stock
from benchmarks.models import CELLS, SIZES, Sizes, model_of, noise, to_file
from benchmarks.tables import Row, judged
from benchmarks.timing import Run, medians_us

INT8_TARGET = 0.1
# The maximum size of a file: constant bytes, and bytes per weight.
HEAD_BYTES, BYTES_PER_WEIGHT = 10_000, {"dynamic": 1.05, "dynamic4": 0.55}


def static_int8(
    rounds: int,
    length: int = 64,
    size: tuple[int, int] = SIZES[0],
    cells: Iterable[str] = ("LSTM", "PeepholeLSTM"),
) -> list[Row]:
    """Static int8 by `auto`, compared with the stock fused LSTM, which has no peepholes."""
    rows = []
    for cell in cells:
        with tempfile.TemporaryDirectory() as folder:
            runs, auto, peer = int8_runs(cell, *size, length, Path(folder))
            us = medians_us(runs, rounds)
        row = {"cell": cell, "F": size[0], "U": size[1], "T": length}
        row |= {"auto": auto, "auto_us": us["ours"], "peer": peer, "peer_us": us["peer"]}
        rows.append(judged(row, us["ours"] / us["peer"], INT8_TARGET))
    return rows


def int8_runs(
    cell: str, features: int, units: int, length: int, folder: Path
) -> tuple[dict[str, Run], str, str]:
    """The runs of kgated and of the peer, the lowering that `auto` chose, and the peer's name."""
    frames, model = noise(length, features), model_of(cell, features, units)
    options = {"mode": "sequence", "length": length}
    gated, fused = (
        SequenceModel(to_file(model, folder / f"{way}.tflite", "int8", lowering=way, **options))
        for way in ("auto", "fused")
    )
    runs: dict[str, Run] = {"ours": lambda: gated.run(frames), "peer": lambda: fused.run(frames)}
    path, peer = folder / "stock.tflite", 'lowering="fused"'
    # The converter crashes on Keras 3's LSTM; Keras 2's becomes one operator.
    if importlib.util.find_spec("tf_keras") is not None:
        job = stock.Job(
            "LSTM sequences", 1, "int8", length, features, units, str(path), package="tf_keras"
        )
        if not stock.run_jobs([job])[0]:
            runs["peer"], peer = (
                other_runtimes.tflite_run(path, frames[None]),
                "tf_keras LSTM, TFLite",
            )
    return runs, str(gated.manifest.recipe["lowering"]), peer


def sizes(shapes: Sizes = SIZES, cells: Iterable[str] = CELLS) -> list[Row]:
    """Bytes of a stream's file, `dynamic` and `dynamic4`."""
    rows = []
    for features, units in shapes:
        for cell in cells:
            model = model_of(cell, features, units)
            for quantize in BYTES_PER_WEIGHT:
                with tempfile.TemporaryDirectory() as folder:
                    path = to_file(model, Path(folder, "m.tflite"), quantize)
                    actual = path.stat().st_size
                rows.append(size_row(cell, features, units, quantize, model.count_params(), actual))
    return rows


def size_row(
    cell: str, features: int, units: int, quantize: str, weights: int, file_bytes: int
) -> Row:
    """One row: bytes relative to the maximum."""
    allowed = HEAD_BYTES + BYTES_PER_WEIGHT[quantize] * weights
    row = {"cell": cell, "F": features, "U": units, "quantize": quantize, "weights": weights}
    row |= {"file_bytes": file_bytes, "allowed_bytes": round(allowed)}
    return judged(row, file_bytes / allowed, 1.0)
