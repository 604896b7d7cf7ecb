"""The training of one model of a study, for any task."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import zero_padded
from kgated.study.splits import Parts
from kgated.study.storage.locks import Locks
from kgated.study.tasks.definitions import CLASSIFICATION, Task
from kgated.training import Plan, SoftTargets, fit
from kgated.training.batches import Disturbance
from kgated.training.callbacks import StopOnDivergence
from kgated.training.distribution import clip_after_sum

Array = np.ndarray
Batch = tuple[Array, Array, Array]


class WeightedBatches(keras.utils.PyDataset):
    """Batches of padded sequences, targets and weights, in another order in each epoch.

    Args:
        arrays: x (N, T, ...), targets (N, ...), weights (N,) or (N, T).
        batch_size: B; the last batch may be smaller.
        seed: of the order.
        passes: over the sequences in an epoch.
    """

    def __init__(self, arrays: Batch, batch_size: int, seed: int, passes: int = 1) -> None:
        super().__init__()
        self.arrays, self.batch_size, self.passes = arrays, batch_size, passes
        self.rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        x, y, weights = (array[rows] for array in self.arrays)
        return x, y, weights

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        rows = len(self.arrays[0])
        self.order = np.concatenate([self.rng.permutation(rows) for _ in range(self.passes)])


class TimeLimit(keras.callbacks.Callback):
    """Ends a training after its time, or where Optuna prunes its trial.

    Args:
        seconds: how long the training may take; its first epoch always ends.
        trial: Optuna's trial, to report the validation loss to; None: no pruning.
        pruned: the exception to raise for a pruned trial.

    Attributes:
        show: called after each epoch with its number, from 1, and the seconds so far.
    """

    def __init__(self, seconds: float, trial: Any = None, pruned: type[Exception] = Exception):
        super().__init__()
        self.seconds, self.trial, self.pruned = seconds, trial, pruned
        self.times: list[float] = []
        self.out_of_time = False
        self.show: Callable[[int, float], None] = lambda epoch, seconds: None
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the time, and report the loss to Optuna."""
        self.times.append(time.perf_counter() - self.start)
        self.show(epoch + 1, self.times[-1])
        if self.trial is not None:
            self.trial.report(float((logs or {})["val_loss"]), epoch)
            if self.trial.should_prune():
                raise self.pruned
        if self.times[-1] > self.seconds and not self.model.stop_training:
            self.out_of_time = self.model.stop_training = True


class LockCheck(keras.callbacks.Callback):
    """Ends a training whose lock is lost: other processes take this one for dead, and repeat it.

    Args:
        locks: of the processes that share the trials.
    """

    def __init__(self, locks: Locks) -> None:
        super().__init__()
        self.locks = locks

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check that the lock is still held."""
        self.locks.check()


def model_inputs(task: Task, data: SequenceData) -> Array:
    """The input of a model: frames (N, T, F) with zeros as padding, or tokens (N, T)."""
    return np.asarray(data.x) if task.takes_tokens else zero_padded(data)


def fit_model(
    model: keras.Model,
    parts: Parts,
    plan: Plan,
    callbacks: list[keras.callbacks.Callback],
    soft_targets: SoftTargets | None = None,
) -> dict[str, list[float]]:
    """Train a model and leave it with the weights of the lowest validation loss.

    Classifiers of sequences are trained by `kgated.training.fit`, with its augmentation. Numeric
    targets are standardized for the training; the last layer then undoes it.

    Args:
        model: the model.
        parts: the data.
        plan: options of the training.
        callbacks: of Keras.
        soft_targets: a teacher's outputs on the training data, for a classifier of sequences.

    Returns:
        A value per epoch of loss and val_loss, and of accuracies where there are classes.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    return _fit(model, parts, (parts.train, parts.validation), plan, callbacks, soft_targets)


def refit_model(
    model: keras.Model, parts: Parts, plan: Plan, callbacks: list[keras.callbacks.Callback]
) -> dict[str, list[float]]:
    """Train a model on the training and validation data together, for all epochs of the plan.

    The learning rate falls to 0 in the last epoch, whose weights the model keeps.

    Args:
        model: as from `build`; its weights are changed.
        parts: the data.
        plan: how long, and how.
        callbacks: called after those of the training.

    Returns:
        Keras's history: the loss of each epoch.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    return _fit(model, parts, (parts.development, None), plan, callbacks, None)


def _fit(
    model: keras.Model,
    parts: Parts,
    data: tuple[SequenceData, SequenceData | None],
    plan: Plan,
    callbacks: list[keras.callbacks.Callback],
    soft_targets: SoftTargets | None,
) -> dict[str, list[float]]:
    """Train on the first data and, if there is a second, stop early by its loss."""
    task = parts.task
    if task is CLASSIFICATION:
        more: dict[str, Any] = {"callbacks": callbacks, "soft_targets": soft_targets}
        return dict(fit(model, *data, plan, quiet=True, **more).history)
    train, *validation = (_arrays(task, part) for part in data if part is not None)
    mean, deviation = _scale(task, train)
    if task.is_regression:
        train, *validation = (
            (x, (y.reshape(*weights.shape, parts.outputs) - mean) / deviation, weights)
            for x, y, weights in (train, *validation)
        )
    batches = _batches(train, plan)
    rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.epochs * len(batches))
    optimizer = clip_after_sum(keras.optimizers.Adam(rate, global_clipnorm=plan.clip_norm))
    accuracies = ["accuracy"] if task.has_classes else []
    model.compile(optimizer, task.loss, weighted_metrics=accuracies)
    stopping = [
        keras.callbacks.EarlyStopping("val_loss", patience=plan.patience, restore_best_weights=True)
        for _ in validation
    ]
    history = model.fit(
        batches,
        shuffle=False,  # `WeightedBatches` shuffles, by its own seed
        epochs=plan.epochs,
        validation_data=validation[0] if validation else None,
        validation_batch_size=max(plan.batch_size or 0, 64),
        callbacks=[StopOnDivergence(), *stopping, *callbacks],
        verbose=0,
    )
    if task.is_regression:
        _undo_standardization(model, mean, deviation)
    return dict(history.history)


def scaled_augmentation(strength: float) -> Disturbance:
    """The augmentation of `kgated train`, weaker by a factor of 0 to 1."""
    full = Disturbance()
    return Disturbance(strength * full.stretch, strength * full.noise, strength * full.mix)


def _batches(train: Batch, plan: Plan) -> WeightedBatches:
    rows = len(train[0])
    return WeightedBatches(train, plan.sequences_per_step(rows), plan.seed, plan.passes_over(rows))


def _arrays(task: Task, data: SequenceData) -> Batch:
    return (model_inputs(task, data), *task.targets(data))


def _scale(task: Task, train: Batch) -> tuple[Array, Array]:
    """Mean and standard deviation (K,) of the targets with a weight above 0."""
    if not task.is_regression:
        return np.zeros(1, np.float32), np.ones(1, np.float32)
    _, y, weights = train
    rows = y[weights > 0]
    rows = rows.reshape(len(rows), -1).astype(np.float64)
    deviation = rows.std(axis=0)
    deviation[deviation == 0] = 1.0
    return rows.mean(axis=0).astype(np.float32), deviation.astype(np.float32)


def _undo_standardization(model: Any, mean: Array, deviation: Array) -> None:
    """Undo the standardization of the targets, in the weights of the last layer."""
    head = model.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([kernel * deviation, bias * deviation + mean])


def load_saved(path: Path) -> keras.Model:
    """The model in a file that a trial has saved.

    Raises:
        ValueError: it is missing or damaged; one line.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        state = "damaged" if path.is_file() else "missing"
        raise ValueError(
            f"{path}: the trained model of a trial is {state}: copy it back, or name another "
            "folder to train again"
        ) from error


def saved(model: keras.Model) -> bytes:
    """The content of a model's `.keras` file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        return path.read_bytes()
