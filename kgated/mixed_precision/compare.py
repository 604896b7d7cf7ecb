"""Compares float, quantized after training, mixed, and quantized in training."""

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
        name: name of the row.
        trial: results of the file.
        keras_accuracy: of the Keras model that the file was made from, 0..1.
    """

    name: str
    trial: Trial
    keras_accuracy: float


def cross_check(judge: Judge, mixed: Mixed, qat: keras.Model | None = None) -> list[Line]:
    """Compare float, mixed and quantized files of one model.

    Args:
        judge: the model and the data.
        mixed: the mixed recipe, from `mixed_recipe`.
        qat: a model of `kgated.quantize_aware` to add as a row; None: no such row.

    Returns:
        Rows for float, quantized after training, mixed, and quantized in training.

    Raises:
        ConversionError: as from `to_tflite`.
    """
    quantize, float_accuracy = mixed.whole.recipe.quantize, keras_accuracy(judge.model, judge.data)
    lines = [
        Line("float", mixed.plain, float_accuracy),
        Line(f"{quantize}, after training", mixed.whole, float_accuracy),
        Line("mixed", mixed.trial, float_accuracy),
    ]
    if qat is not None:
        trial = judge.trial(quantize, model=qat)
        lines.append(Line(f"{quantize}, in training", trial, keras_accuracy(qat, judge.data)))
    return lines


def keras_accuracy(model: keras.Model, data: SequenceData) -> float:
    """The accuracy of a Keras model, after the last frame or at each frame, 0..1."""
    right: list[np.ndarray] = []
    for length in np.unique(data.lengths):  # batches of equal lengths need no padding
        rows = np.flatnonzero(data.lengths == length)
        decisions = np.asarray(model(data.x[rows, :length], training=False)).argmax(axis=-1)
        labels = data.y[rows] if data.y is not None else decisions
        if labels.ndim == 1:
            decisions = decisions if decisions.ndim == 1 else decisions[:, -1]
        else:
            size = length // decisions.shape[1]
            labels = labels[:, size - 1 : length : size]
        right.append((decisions == labels).ravel())
    return float(np.concatenate(right).mean())


def table(lines: list[Line], limit: float) -> Table:
    """The comparison as a table for the terminal.

    Args:
        lines: from `cross_check`.
        limit: the largest loss allowed, in percentage points; rows above it are red.
    """
    terminal_table = Table(title=f"Accuracy on the device side; limit {limit:g} points lost")
    for name in ("model", "Keras", "device", "points lost", "KiB", "in float"):
        terminal_table.add_column(
            name, justify="left" if name in ("model", "in float") else "right"
        )
    plain = lines[0].trial.accuracy or 0.0
    for line in lines:
        trial = line.trial
        if trial.accuracy is None or trial.file_bytes is None:
            terminal_table.add_row(line.name, _percent(line.keras_accuracy), "refused", style="red")
            continue
        lost = 100.0 * (plain - trial.accuracy)
        in_float = "all" if trial.recipe.quantize == "none" else ", ".join(trial.recipe.skip) or "-"
        size_columns = f"{lost:+.2f}", f"{trial.file_bytes / 1024:.1f}", in_float
        accuracies = _percent(line.keras_accuracy), _percent(trial.accuracy)
        terminal_table.add_row(
            line.name, *accuracies, *size_columns, style="red" if lost > limit else None
        )
    return terminal_table


def sensitivity_table(sensitivities: tuple[Sensitivity, ...], quantize: str) -> Table:
    """The accuracy loss of each layer, as a table for a terminal."""
    terminal_table = Table(title=f"One layer in {quantize}, the others in float")
    for name in ("layer", "device", "points lost"):
        terminal_table.add_column(name, justify="left" if name == "layer" else "right")
    for sensitivity in sensitivities:
        accuracy = sensitivity.trial.accuracy
        if accuracy is None:
            terminal_table.add_row(sensitivity.layer, "refused", "-", style="red")
        else:
            terminal_table.add_row(
                sensitivity.layer, _percent(accuracy), f"{sensitivity.lost_points:+.2f}"
            )
    return terminal_table


def _percent(fraction: float) -> str:
    return f"{100.0 * fraction:.2f}%"
