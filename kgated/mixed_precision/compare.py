"""Float, quantized after training, mixed, and quantized in training, side by side."""

from dataclasses import dataclass

import keras
import numpy as np
from kgated_edge import SequenceData
from rich.table import Table

from kgated.mixed_precision.evaluate import Judge, Trial
from kgated.mixed_precision.search import Mixed, Sensitivity


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        name: what it is.
        trial: what its file gives.
        keras_accuracy: of the Keras model that the file was made from, 0..1.
    """

    name: str
    trial: Trial
    keras_accuracy: float


def cross_check(judge: Judge, found: Mixed, qat: keras.Model | None = None) -> list[Line]:
    """The rows of the table; with `qat`, a model of `kgated.quantize_aware`, one more."""
    quantize, of_float = found.whole.recipe.quantize, keras_accuracy(judge.model, judge.data)
    lines = [
        Line("float", found.plain, of_float),
        Line(f"{quantize}, after training", found.whole, of_float),
        Line("mixed", found.trial, of_float),
    ]
    if qat is not None:
        trial = judge.trial(quantize, model=qat)
        lines.append(Line(f"{quantize}, in training", trial, keras_accuracy(qat, judge.data)))
    return lines


def keras_accuracy(model: keras.Model, data: SequenceData) -> float:
    """The share of right decisions of a Keras model, after the last frame or at each, 0..1."""
    right: list[np.ndarray] = []
    for length in np.unique(data.lengths):  # equal lengths at once: nothing is padded
        rows = np.flatnonzero(data.lengths == length)
        found = np.asarray(model(data.x[rows, :length], training=False)).argmax(axis=-1)
        labels = data.y[rows] if data.y is not None else found
        if labels.ndim == 1:
            found = found if found.ndim == 1 else found[:, -1]
        else:
            size = length // found.shape[1]
            labels = labels[:, size - 1 : length : size]
        right.append((found == labels).ravel())
    return float(np.concatenate(right).mean())


def table(lines: list[Line], limit: float) -> Table:
    """The rows for a terminal."""
    shown = Table(title=f"Accuracy on the device side; limit {limit:g} points lost")
    for name in ("model", "Keras", "device", "points lost", "KiB", "in float"):
        shown.add_column(name, justify="left" if name in ("model", "in float") else "right")
    plain = lines[0].trial.accuracy or 0.0
    for line in lines:
        trial = line.trial
        if trial.accuracy is None or trial.file_bytes is None:
            shown.add_row(line.name, _percent(line.keras_accuracy), "refused", style="red")
            continue
        lost = 100.0 * (plain - trial.accuracy)
        kept = "all" if trial.recipe.quantize == "none" else ", ".join(trial.recipe.skip) or "-"
        figures = f"{lost:+.2f}", f"{trial.file_bytes / 1024:.1f}", kept
        accuracies = _percent(line.keras_accuracy), _percent(trial.accuracy)
        shown.add_row(line.name, *accuracies, *figures, style="red" if lost > limit else None)
    return shown


def sensitivity_table(found: tuple[Sensitivity, ...], quantize: str) -> Table:
    """What each layer loses, for a terminal."""
    shown = Table(title=f"One layer in {quantize}, the others in float")
    for name in ("layer", "device", "points lost"):
        shown.add_column(name, justify="left" if name == "layer" else "right")
    for one in found:
        accuracy = one.trial.accuracy
        if accuracy is None:
            shown.add_row(one.layer, "refused", "-", style="red")
        else:
            shown.add_row(one.layer, _percent(accuracy), f"{one.lost_points:+.2f}")
    return shown


def _percent(share: float) -> str:
    return f"{100.0 * share:.2f}%"
