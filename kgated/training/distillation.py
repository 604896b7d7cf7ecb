"""Distillation: a classifier learns from the labels and the outputs of a teacher.

Equations, for the labels y, the teacher's outputs q and the model's outputs p, both (B, C)::

    q_t = softmax(log(q) / t)        p_t = softmax(log(p) / t)
    loss = (1 - w) · CE(y, p) + w · t² · CE(q_t, p_t)

t² keeps the gradients of both terms of one size. Rows without soft targets, as of the validation
data, have the first term alone, with a weight of 1.

Reference: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network".
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kgated.training.batches import number

SMALLEST = 1e-7  # below which a probability has no logarithm in float32


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's outputs on the training data, for `fit`.

    Attributes:
        outputs: (N, C) probabilities of the teacher, in the order of the training data.
        temperature: t of the equations, above 0; above 1 it shows which wrong classes the teacher
            holds for likely.
        weight: w of the equations, in 0..1: the fraction of the loss that is the teacher's.

    Raises:
        ValueError: a number outside its range, outputs of another shape, NaN or inf.
        TypeError: a temperature or weight that is not a number.
    """

    outputs: np.ndarray
    temperature: float = 3.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < number("temperature", self.temperature) < float("inf"):
            raise ValueError(f"`temperature` must be above 0. Received: {self.temperature!r}")
        if not 0.0 <= number("weight", self.weight) <= 1.0:
            raise ValueError(f"`weight` must be in 0..1. Received: {self.weight!r}")
        if self.outputs.ndim != 2 or not np.isfinite(self.outputs).all():
            raise ValueError(
                "`outputs` must be (N, classes) finite probabilities of the teacher. Received: "
                f"shape {self.outputs.shape}"
            )

    def beside(self, targets: np.ndarray) -> np.ndarray:
        """Targets that contain the labels and the outputs of the teacher.

        Args:
            targets: (N, C) one-hot labels.

        Returns:
            (N, 2C) float32: the labels, then the softened outputs of the teacher.

        Raises:
            ValueError: another number of sequences or classes.
        """
        if targets.shape != self.outputs.shape:
            raise ValueError(
                f"`outputs` of the teacher must be of shape {targets.shape}, a row per sequence "
                f"and a column per class. Received: {self.outputs.shape}"
            )
        softened = _softened(np.asarray(self.outputs, np.float64), self.temperature)
        return np.concatenate([targets, np.asarray(softened, np.float32)], axis=1)

    def loss(self, label_smoothing: float) -> "DistillationLoss":
        """The loss for the targets of `beside`."""
        return DistillationLoss(self.temperature, self.weight, label_smoothing)


class DistillationLoss(keras.losses.Loss):
    """The loss of the module's equations, for targets (B, 2C) and outputs (B, C)."""

    def __init__(self, temperature: float, weight: float, label_smoothing: float) -> None:
        super().__init__(name="distillation")
        self.temperature, self.weight = temperature, weight
        self.label_smoothing = label_smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """A loss per row, (B,)."""
        labels, soft = ops.split(y_true, 2, axis=-1)
        hard = keras.losses.categorical_crossentropy(
            labels, y_pred, label_smoothing=self.label_smoothing
        )
        logits = ops.log(ops.maximum(y_pred, SMALLEST)) / self.temperature
        taught = -ops.sum(soft * ops.log_softmax(logits), axis=-1) * self.temperature**2
        fraction = self.weight * ops.sum(soft, axis=-1)
        return (1.0 - fraction) * hard + self.weight * taught


class LabelAccuracy(keras.metrics.MeanMetricWrapper):
    """The accuracy for targets (B, 2C), whose first half are the labels."""

    def __init__(self) -> None:
        super().__init__(_right, name="accuracy")


def without_soft_targets(targets: np.ndarray) -> np.ndarray:
    """Targets (N, C) as (N, 2C) for `DistillationLoss`, which is then the loss of the labels."""
    return np.concatenate([targets, np.zeros_like(targets)], axis=1)


def _right(y_true: Any, y_pred: Any) -> Any:
    labels, _ = ops.split(y_true, 2, axis=-1)
    return ops.cast(ops.argmax(labels, axis=-1) == ops.argmax(y_pred, axis=-1), y_pred.dtype)


def _softened(outputs: np.ndarray, temperature: float) -> np.ndarray:
    logits = np.log(np.maximum(outputs, SMALLEST)) / temperature
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softened: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return softened
