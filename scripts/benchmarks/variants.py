"""The rows of the accuracy benchmark: the training and the conversion of each."""

import gzip
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import keras

import kgated
import kgated.models  # registers the language model
from benchmarks.tables import Row
from benchmarks.tasks import Callbacks, Task
from kgated.atomic_write import replace_file
from kgated.deploy.verification import compare
from kgated.errors import ConversionError
from kgated.optimize import PolynomialDecay

FLOAT = "float"


@dataclass(frozen=True)
class Variant:
    """One row.

    Attributes:
        training: a name of `TRAININGS`.
        quantize: the quantization of the conversion.
        dense: the row with which the gzipped size is compared.
        loss_limit: the maximum loss in points against the float row. None: no limit.
    """

    training: str
    quantize: str
    dense: str = FLOAT
    loss_limit: float | None = None


@dataclass(frozen=True)
class Training:
    """A training that continues from the weights of another one.

    Attributes:
        parent: the name of the other training.
        share: the fraction of zeros, or None.
        clusters: values per matrix, or None.
        fake_quantized: whether to train with fake quantization.
        control: whether to train as long as with fake quantization, but in float.
    """

    parent: str = FLOAT
    share: float | None = None
    clusters: int | None = None
    fake_quantized: bool = False
    control: bool = False


TRAININGS = {
    "qat": Training(fake_quantized=True),
    "trained on": Training(control=True),
    "pruned 50%": Training(share=0.5),
    "pruned 75%": Training(share=0.75),
    "clustered 16": Training(clusters=16),
    "clustered 32": Training(clusters=32),
    "pruned 75%, clustered 16": Training("pruned 75%", clusters=16),
}
VARIANTS = {
    FLOAT: Variant(FLOAT, "none"),
    "float, trained on": Variant("trained on", "none"),
    "float16": Variant(FLOAT, "float16"),
    "dynamic": Variant(FLOAT, "dynamic", loss_limit=0.2),
    "dynamic4": Variant(FLOAT, "dynamic4"),
    "int8 PTQ": Variant(FLOAT, "int8"),
    "int8 QAT": Variant("qat", "int8", loss_limit=0.5),
    "int16x8": Variant(FLOAT, "int16x8", loss_limit=0.3),
    "pruned 50%": Variant("pruned 50%", "none"),
    "pruned 75%": Variant("pruned 75%", "none", loss_limit=1.0),
    "clustered 16": Variant("clustered 16", "none"),
    "clustered 32": Variant("clustered 32", "none"),
    "pruned 75%, dynamic": Variant("pruned 75%", "dynamic", "dynamic", 1.0),
    "pruned 75%, clustered 16, dynamic": Variant("pruned 75%, clustered 16", "dynamic", "dynamic"),
}


def file_of(folder: Path, name: str, ending: str) -> Path:
    """The path of a file of a row or a training."""
    return folder / f"{name.replace(', ', '-').replace(' ', '_').replace('%', '')}.{ending}"


def trained(task: Task, cell: str, seed: int, name: str, folder: Path) -> keras.Model:
    """A training's model, loaded from the folder, or trained and saved there."""
    path = file_of(folder, name, "keras")
    if path.is_file():
        return keras.saving.load_model(path, compile=False)
    if name == FLOAT:
        model = task.build(cell, seed)
        task.train(model, task.lengths.first, seed, [])
    else:
        how = TRAININGS[name]
        model = further(task, how, trained(task, cell, seed, how.parent, folder), seed)
    temporary = path.with_name(f".{path.name}")
    model.save(temporary)
    os.replace(temporary, path)
    return model


def further(task: Task, how: Training, model: keras.Model, seed: int) -> keras.Model:
    """A model after the further training of a row."""
    callbacks: Callbacks = []
    length = task.lengths.again
    if how.fake_quantized:
        model, length = kgated.quantize_aware(model), task.lengths.tuned
    if how.control:
        length = task.lengths.tuned
    if how.share is not None:
        length = task.lengths.sparse
        turn = max(1, task.steps(length) // 20)
        schedule = PolynomialDecay(0.0, how.share, 0, 10 * turn, frequency=turn)
        callbacks = [kgated.prune(model, schedule)]
    if how.clusters is not None:
        kgated.cluster(model, how.clusters)
    task.train(model, length, seed, callbacks)
    return model


def measure(task: Task, cell: str, seed: int, name: str, folder: Path) -> Row:
    """A row, loaded from the folder, or trained, converted, evaluated and saved there."""
    row_file = file_of(folder, name, "json")
    if row_file.is_file():
        row: Row = json.loads(row_file.read_text())
        return row
    variant, path = VARIANTS[name], file_of(folder, name, "tflite")
    row = {"task": task.name, "cell": cell, "seed": seed, "recipe": name}
    model = trained(task, cell, seed, variant.training, folder)
    try:
        row |= _converted(task, model, variant, path)
    except (ConversionError, ValueError) as error:
        return {**row, "error": str(error)}  # not saved: the next run tries again
    replace_file(row_file, json.dumps(row).encode())
    return row


def _converted(task: Task, model: keras.Model, variant: Variant, path: Path) -> dict[str, Any]:
    # A model trained with fake quantization contains its ranges.
    calibration = None if variant.training == "qat" else task.calibration()
    refused = None
    try:
        kgated.to_tflite(model, path, quantize=variant.quantize, calibration=calibration)
    except ConversionError as error:
        refused = str(error)
        # The benchmark also measures files that the conversion would refuse.
        with mock.patch.object(compare, "check_not_broken"):
            kgated.to_tflite(model, path, quantize=variant.quantize, calibration=calibration)
    content = path.read_bytes()
    return {
        "refused": refused,
        "score": task.score(path),
        "unit": task.unit,
        "file_bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, 9, mtime=0)),
    }
