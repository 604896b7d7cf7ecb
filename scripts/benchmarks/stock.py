"""Conversion of Keras's models by the stock converter, in a process that may crash."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker_pool import run_all, serve


@dataclass(frozen=True)
class Job:
    """One conversion.

    Attributes:
        model: a name in STOCK, or a layer of kgated.
        batch: of its `Input`, None: free.
        quantize: "none", "dynamic" or "int8".
        steps, features, units: T, F, U.
        path: the file to write, or "" for none.
        package: "keras", "tf_keras" for Keras 2, or "kgated".
        options: of kgated's layer.
    """

    model: str
    batch: int | None
    quantize: str
    steps: int
    features: int
    units: int
    path: str = ""
    package: str = "keras"
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        model = f"kgated.{self.model}({options})" if self.package == "kgated" else self.model
        return f"{model}, batch {self.batch or 'free'}, {self.quantize}"


VOCABULARY = 11
# Name to the layers of a model, from the module of layers and U.
STOCK: dict[str, Callable[[Any, int], list[Any]]] = {
    "LSTM": lambda k, u: [k.LSTM(u)],
    "GRU": lambda k, u: [k.GRU(u)],
    "GRU reset before": lambda k, u: [k.GRU(u, reset_after=False)],
    "LSTM sequences": lambda k, u: [k.LSTM(u, return_sequences=True)],
    "Bidirectional LSTM": lambda k, u: [k.Bidirectional(k.LSTM(u))],
    "two LSTM": lambda k, u: [k.LSTM(u, return_sequences=True), k.LSTM(u)],
    "masked Embedding LSTM": lambda k, u: [k.Embedding(VOCABULARY, u, mask_zero=True), k.LSTM(u)],
    "GRU reset before sequences": lambda k, u: [k.GRU(u, reset_after=False, return_sequences=True)],
}
MATRIX = list(STOCK)[:7]


def build(job: Job) -> Any:
    """The Keras model of a job."""
    if job.package == "kgated":
        keras, kgated = map(importlib.import_module, ("keras", "kgated"))
        first = keras.Input((job.steps, job.features), batch_size=job.batch)
        return keras.Sequential([first, getattr(kgated, job.model)(job.units, **job.options)])
    keras = importlib.import_module(job.package)
    tokens = "Embedding" in job.model
    shape = (job.steps,) if tokens else (job.steps, job.features)
    dtype = "int32" if tokens else "float32"
    first = keras.Input(shape, batch_size=job.batch, dtype=dtype)
    return keras.Sequential([first, *STOCK[job.model](keras.layers, job.units)])


def samples(job: Job, count: int = 4) -> np.ndarray:
    """Seeded sequences (count, T, F), or tokens (count, T) of which the last are padding."""
    rng = np.random.default_rng(0)
    if "Embedding" not in job.model:
        return rng.normal(size=(count, job.steps, job.features)).astype(np.float32)
    tokens = rng.integers(1, VOCABULARY, (count, job.steps)).astype(np.int32)
    tokens[1:, job.steps // 2 :] = 0
    return tokens


def convert(job: Job) -> None:
    """Convert as in TensorFlow's guide, with builtin operators only."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(build(job))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if job.quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job.quantize == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: ([x[None]] for x in samples(job))
    content = converter.convert()
    if job.path:
        Path(job.path).write_bytes(content)


def run_jobs(jobs: Sequence[Job]) -> list[str]:
    """For each job "" if it converted, else the reason of the failure."""
    return run_all("benchmarks.stock", [asdict(job) for job in jobs], "stock conversions")


def _answer(job: dict[str, Any]) -> str:
    try:
        convert(Job(**job))
    except Exception as error:
        return next(iter(str(error).strip().splitlines()), repr(error))[:200]
    return ""


if __name__ == "__main__":
    serve(_answer)
