"""Training of a classifier: clipped gradients, early stopping, data augmentation, seeds."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from rich.console import Console

from kgated.cells import choose
from kgated.data import SensorAugmentation, take, zero_padded
from kgated.keras_internals.training import build_for_training
from kgated.training.batches import Batches, Disturbance, integer, number
from kgated.training.callbacks import StopOnDivergence
from kgated.training.distillation import LabelAccuracy, SoftTargets, without_soft_targets
from kgated.training.distribution import clip_after_sum
from kgated.training.mapped import MappedBatches, MappedSequences, is_mapped
from kgated.training.progress import ProgressBar
from kgated.training.resume import start_or_resume
from kgated.training.targets import targets_of

_INTEGER_MINIMA = {"epochs": 1, "patience": 0, "batch_size": 1, "seed": 0}
MAX_BATCH, MIN_STEPS = 32, 6
PRECISIONS = dict.fromkeys(("float32", "mixed_bfloat16", "mixed_float16"))


@dataclass(frozen=True)
class Plan:
    """How a classifier of sequences is trained. The defaults are those of `kgated demo`.

    Attributes:
        epochs: the maximum number of passes over the data. The learning rate falls from
            `learning_rate` to 0 along half a cosine over all of them.
        patience: number of epochs without a lower validation loss before training stops.
        batch_size: sequences per step. None: 32, and with fewer than 192 training sequences an
            epoch passes over them several times, so that it has six steps; see `passes_over`.
        learning_rate: Adam's at the start.
        clip_norm: the largest norm of a gradient, over all weights together.
        precision: "float32", "mixed_bfloat16" or "mixed_float16", the policy that the model was
            built with; float16 uses loss scaling, so that small gradients do not underflow.
        label_smoothing: the fraction of each target that is spread over all classes.
        disturbance: the augmentation of the training data, drawn again in each epoch.
        seed: of the order and the disturbance.
        augmentation: noise, scaling and lost frames, for sensors. None: no such augmentation.

    Raises:
        TypeError: a value of another type.
        ValueError: a value outside its range.
    """

    epochs: int = 100
    patience: int = 25
    batch_size: int | None = None
    learning_rate: float = 3e-3
    clip_norm: float = 1.0
    precision: str = "float32"
    label_smoothing: float = 0.1
    disturbance: Disturbance = field(default_factory=Disturbance)
    seed: int = 0
    augmentation: SensorAugmentation | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.precision, str):
            raise TypeError(f"`precision` must be a string. Received: {self.precision!r}")
        choose("precision", self.precision, PRECISIONS)
        for name, minimum in _INTEGER_MINIMA.items():
            if name == "batch_size" and self.batch_size is None:
                continue
            value = integer(name, getattr(self, name))
            if value < minimum:
                raise ValueError(f"`{name}` must be {minimum} or above. Received: {value!r}")
        for name in ("learning_rate", "clip_norm"):
            if not number(name, getattr(self, name)) > 0.0:
                raise ValueError(f"`{name}` must be above 0. Received: {getattr(self, name)!r}")
        if not 0.0 <= number("label_smoothing", self.label_smoothing) < 1.0:
            raise ValueError(
                f"`label_smoothing` must be from 0 to below 1. Received: {self.label_smoothing!r}"
            )
        if not isinstance(self.disturbance, Disturbance):
            raise TypeError(f"`disturbance` must be a Disturbance. Received: {self.disturbance!r}")

    def passes_over(self, sequences: int) -> int:
        """How often an epoch passes over so many training sequences, each time augmented anew.

        Early stopping and the learning rate count epochs. With one step per epoch, as of 20
        sequences in a batch of 32, a training ends before the model has learned anything. Where
        `batch_size` is set, an epoch is one pass.
        """
        if self.batch_size is not None:
            return 1
        return -(-MIN_STEPS * min(MAX_BATCH, sequences) // max(1, sequences))

    def sequences_per_step(self, sequences: int) -> int:
        """The batch size for so many training sequences."""
        return self.batch_size or min(MAX_BATCH, max(1, sequences))


def fit(
    model: keras.Model,
    train: SequenceData,
    validation: SequenceData | None,
    plan: Plan | None = None,
    *,
    quiet: bool = False,
    console: Console | None = None,
    folder: str | Path | None = None,
    tensorboard: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    soft_targets: SoftTargets | None = None,
) -> keras.callbacks.History:
    """Train a classifier of sequences and leave it with its best weights.

    Afterwards the model is compiled with a loss for integer labels, so that `model.evaluate(x, y)`
    takes the labels of the data. After Ctrl-C the model has the best weights so far.

    Args:
        model: (B, T, F) to (B, classes) probabilities, with frames of zeros as padding, such as
            `sequence_classifier`; compiled here, its weights changed.
        train: frames (N, T, F) float32 and labels y (N,) in 0..classes-1 to learn from.
        validation: the same; the weights of the epoch with the lowest validation loss are kept.
            None: all epochs of the plan are trained, and the weights of the last one are kept.
        plan: all other options; None: the defaults.
        quiet: show no progress.
        console: where to show the progress; None: the terminal.
        folder: where to write a log, the best model and a backup. After a kill the training resumes
            from the backup, with the same result as without the kill; see `start_or_resume`.
        tensorboard: also write logs for TensorBoard to `folder`.
        callbacks: further Keras callbacks, called after those of the training.
        soft_targets: a teacher's outputs on `train`, to learn from beside the labels.

    Returns:
        Keras's history: loss, accuracy, val_loss and val_accuracy of each epoch, including the
        epochs before a kill.

    Raises:
        ValueError: there are no sequences, a real frame holds NaN or inf, the features are not the
            model's, labels are missing or out of range, `tensorboard` is set without `folder`,
            `folder` without `validation`, or the precisions of model and plan differ.
        DivergenceError: the loss became NaN or infinite; the message names the epoch.
    """
    plan = plan or Plan()
    check_precision(model, plan.precision)
    features, classes = model.input_shape[-1], model.output_shape[-1]
    targets = targets_of("train", train, features, classes)
    if validation is None and folder is not None:
        raise ValueError("`folder` keeps the best epoch, which needs `validation`: give both")
    if soft_targets is not None:
        targets = soft_targets.beside(targets)
    held_out = _held_out(validation, features, classes, soft_targets)
    batches = _batches(train, targets, plan)
    _compile(model, plan, plan.epochs * len(batches), soft_targets)
    build_for_training(model, batches[0])
    keeper = _Keeper(model, plan, batches, folder, tensorboard, stops=validation is not None)
    with contextlib.ExitStack() as screen:
        bar = ProgressBar(model.name, plan.epochs, console, done=keeper.initial_epoch)
        shown = [] if quiet else [screen.enter_context(bar)]
        history = keeper.fit(
            batches,
            shuffle=False,  # `Batches` shuffles with its own seed
            epochs=plan.epochs,
            initial_epoch=keeper.initial_epoch,
            **_validation(validation, held_out, plan),
            callbacks=[*keeper.callbacks, *shown, *callbacks],
            verbose=0,
        )
    keeper.finish(history)
    return history


def _batches(train: SequenceData, targets: np.ndarray, plan: Plan) -> Batches | MappedBatches:
    kind = MappedBatches if is_mapped(train) else Batches
    disturbance, augmentation = plan.disturbance, plan.augmentation
    batch_size, passes = plan.sequences_per_step(len(train)), plan.passes_over(len(train))
    if passes > 1:
        rows = np.tile(np.arange(len(train)), passes)
        train, targets = take(train, rows), targets[rows]
    return kind(train, targets, batch_size, disturbance, plan.seed, augmentation)


def _held_out(
    data: SequenceData | None, features: int, classes: int, soft_targets: SoftTargets | None
) -> np.ndarray | None:
    """The targets of the validation data, in the form of the training's."""
    if data is None:
        return None
    targets = targets_of("validation", data, features, classes)
    return targets if soft_targets is None else without_soft_targets(targets)


def _validation(
    data: SequenceData | None, targets: np.ndarray | None, plan: Plan
) -> dict[str, Any]:
    """The arguments of Keras's `fit` for validation."""
    if data is None or targets is None:
        return {}
    if is_mapped(data):
        return {"validation_data": MappedSequences(data, targets, plan.batch_size or MAX_BATCH)}
    return {
        "validation_data": (zero_padded(data), targets),
        "validation_batch_size": len(data),
    }


def compile_for_labels(model: keras.Model) -> None:
    """Compile a trained classifier with a loss for integer labels."""
    model.compile(model.optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])


class _Keeper:
    """Stores the best weights of a training: in memory, or in a folder with log and backup."""

    def __init__(
        self,
        model: keras.Model,
        plan: Plan,
        batches: Batches | MappedBatches,
        folder: str | Path | None,
        tensorboard: bool,
        *,
        stops: bool,
    ) -> None:
        self.model, self.run, self.initial_epoch = model, None, 0
        self.callbacks: list[keras.callbacks.Callback]
        if folder is None:
            if tensorboard:
                raise ValueError("`tensorboard` needs a `folder` for its logs: set one")
            self.stopping = keras.callbacks.EarlyStopping(
                "val_loss", patience=plan.patience, restore_best_weights=True
            )
            self.callbacks = [StopOnDivergence(), *([self.stopping] if stops else [])]
            return
        self.best = Path(folder) / "best.keras"
        self.run = start_or_resume(model, folder, patience=plan.patience, tensorboard=tensorboard)
        self.callbacks, self.initial_epoch = self.run.callbacks, self.run.initial_epoch
        for _ in range(self.initial_epoch):  # restore the random state
            batches.on_epoch_end()

    def fit(self, *arguments: Any, **options: Any) -> keras.callbacks.History:
        """`model.fit`; Ctrl-C leaves the model with its best weights.

        Raises:
            KeyboardInterrupt: Ctrl-C; its argument is the number of completed epochs.
        """
        try:
            return self.model.fit(*arguments, **options)
        except KeyboardInterrupt:
            history = getattr(self.model, "history", None)
            ended = self.initial_epoch + (len(history.epoch) if history else 0)
            if self.run is None and self.stopping.best_weights is not None:
                self.model.set_weights(self.stopping.best_weights)
                compile_for_labels(self.model)
            raise KeyboardInterrupt(ended) from None

    def finish(self, history: keras.callbacks.History) -> None:
        """Put the best weights into the model and all epochs into the history."""
        if self.run is None:
            compile_for_labels(self.model)
            return
        best = keras.saving.load_model(self.best, compile=False)
        self.model.set_weights(best.get_weights())
        compile_for_labels(self.model)
        temporary = self.best.with_name(f".{self.best.name}")
        self.model.save(temporary)
        os.replace(temporary, self.best)
        rows = self.run.log.rows
        history.epoch = [int(row["epoch"]) for row in rows]
        names = [name for name in rows[0] if name not in ("epoch", "seconds")]
        history.history = {name: [row[name] for row in rows] for name in names}


def check_precision(model: keras.Model, precision: str) -> None:
    """Raise a ValueError if the plan's precision differs from the model's."""
    precisions = {layer.dtype_policy.name for layer in model.layers} - {"float32"}
    if precisions != {precision} - {"float32"}:
        raise ValueError(
            f"`precision` must be that of the model's layers, {sorted(precisions) or 'float32'}. "
            f"Received: {precision!r}; build the model with `dtype={precision!r}`"
        )


def _compile(model: keras.Model, plan: Plan, steps: int, soft_targets: SoftTargets | None) -> None:
    rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, steps)
    optimizer = clip_after_sum(keras.optimizers.Adam(rate, global_clipnorm=plan.clip_norm))
    if plan.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    smoothing = plan.label_smoothing
    if soft_targets is None:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        model.compile(optimizer, loss, metrics=["accuracy"])
    else:
        model.compile(optimizer, soft_targets.loss(smoothing), metrics=[LabelAccuracy()])
