"""The cost of process isolation: native code in this process, or in a worker process."""

import importlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from time import perf_counter
from unittest import mock

import keras

from benchmarks.models import SIZES, model_of, to_file
from benchmarks.tables import Row
from kgated.deploy import worker as worker_client
from kgated_worker import Worker

QUANTIZATIONS = ("none", "dynamic", "int8")
STARTS = 3


class InProcess:
    """Runs jobs in this process, without protection from crashes."""

    def start(self) -> None:
        """Nothing to start."""

    def run(self, work: str, folder: str | Path) -> None:
        """As `Worker.run`."""
        module, function = work.split(":")
        getattr(importlib.import_module(module), function)(str(folder))


def conversions(
    rounds: int, size: tuple[int, int] = SIZES[0], quantizations: Iterable[str] = QUANTIZATIONS
) -> list[Row]:
    """Seconds of `to_tflite`: in this process, in a new worker, and in a running worker."""
    rows, model = [], model_of("LSTM", *size)
    for quantize in quantizations:
        here = [seconds(model, quantize, InProcess()) for _ in range(rounds)]
        first, later = [], []
        for _ in range(STARTS):
            worker = Worker()
            first.append(seconds(model, quantize, worker))
            later += [seconds(model, quantize, worker) for _ in range(max(1, rounds // STARTS))]
            worker.stop()
        row = {"cell": "LSTM", "F": size[0], "U": size[1], "quantize": quantize}
        row |= {"here_s": median(here), "started_s": median(first), "kept_s": median(later)}
        rows.append({**row, "met": None})
    return rows


def seconds(model: keras.Model, quantize: str, worker: InProcess | Worker) -> float:
    """Seconds of one conversion."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(worker_client, "WORKER", worker),
    ):
        start = perf_counter()
        to_file(model, Path(folder, "m.tflite"), quantize)
        return perf_counter() - start
