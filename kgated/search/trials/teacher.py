"""Distillation in a search: a large teacher model, given or trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.data import zero_padded
from kgated.search.design.model import build
from kgated.search.design.space import SearchSpace
from kgated.study.console import Log
from kgated.study.fitting import LockCheck, load_saved, saved
from kgated.study.hyperparameters import FIRST_AUGMENTATIONS
from kgated.study.models import ModelOptions
from kgated.study.splits import Parts
from kgated.study.storage.queue import TrialQueue
from kgated.training import DivergenceError, SoftTargets, fit

AUTO = "auto"
CELLS = ("gru", "lstm")
UNITS = 64
TRAINING = {"learning_rate": 5e-3, "dropout": 0.3}
STUDY, CHOSEN = "teacher", "chosen"
PREDICT_BATCH = 256


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained model whose outputs smaller ones learn.

    Attributes:
        name: of the model.
        model: (B, T, F) to (B, classes) probabilities.
        soft_targets: its outputs on the training data.
    """

    name: str
    model: keras.Model
    soft_targets: SoftTargets

    @classmethod
    def of(cls, model: keras.Model, parts: Parts, temperature: float, weight: float) -> "Teacher":
        """The teacher with its outputs on the training data.

        Raises:
            ValueError: a model that does not take the data, or has other outputs than the classes.
        """
        x = zero_padded(parts.train)
        try:
            outputs = model.predict(x, batch_size=PREDICT_BATCH, verbose=0)
        except (ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"--teacher can't be run on the data: {reason}") from error
        shape = (len(x), parts.classes)
        is_distribution = getattr(outputs, "shape", None) == shape and _is_distribution(outputs)
        if not is_distribution:
            raise ValueError(
                f"--teacher must have probabilities of the {parts.classes} classes as its output "
                f"per sequence. Received: shape {getattr(outputs, 'shape', None)}"
            )
        return cls(model.name, model, SoftTargets(outputs, temperature, weight))


def load_teacher(path: Path) -> keras.Model:
    """Read a teacher's file.

    Raises:
        ValueError: it is no Keras model.
    """
    if not path.is_file():
        raise ValueError(f"--teacher must be `auto` or a .keras file. There is no file {path}")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--teacher {path}: can't be read as a Keras model: {reason}") from error


class TeacherStudy:
    """Trains big models of several cells, and takes the one of the lowest validation loss.

    A killed process's training is repeated; several processes share the trainings.

    Args:
        queue: the trials.
        parts: the data.
        epochs, patience: of each training.
        folder: for the models; it exists.
        log: takes a line for each training.
    """

    def __init__(
        self, queue: TrialQueue, parts: Parts, epochs: int, patience: int, folder: Path, log: Log
    ) -> None:
        self.queue, self.parts, self.folder, self.log = queue, parts, folder, log
        self.epochs, self.patience = epochs, patience
        self.study = queue.study(STUDY)

    def run(self) -> keras.Model:
        """Train what is missing, and load the best."""
        rows = [
            {"cell": cell, **TRAINING, "augmentation": strength}
            for cell in CELLS
            for strength in FIRST_AUGMENTATIONS
        ]
        self.queue.enqueue(self.study, rows)
        while True:
            trial = self.queue.take(self.study, 0)
            if trial is not None:
                self._train(trial)
            elif not self.queue.wait(self.study):
                break
        complete = self.queue.optuna.trial.TrialState.COMPLETE
        if not self.study.get_trials(deepcopy=False, states=(complete,)):
            raise ValueError("every teacher diverged: look for huge values in the data")
        name = self.queue.choose_once(self.study, CHOSEN, self._file(self.study.best_trial.number))
        return load_saved(self.queue.backend.fetch_file(self.folder / name))

    def _train(self, trial: Any) -> None:
        space = SearchSpace(CELLS, (UNITS,), (1,), (1,), (1,), (0.0,), ("none",))
        design, training = space.draw(trial)
        parts, seed = self.parts, trial.number
        model = build(design, ModelOptions.of(parts, training.dropout, seed))
        plan = training.plan(self.epochs, self.patience, seed)
        try:
            data, lock = (parts.train, parts.validation), LockCheck(self.queue.locks)
            history = fit(model, *data, plan, callbacks=[lock], quiet=True).history
        except DivergenceError as error:
            self.study.tell(trial, state=self.queue.optuna.trial.TrialState.PRUNED)
            self.log(f"teacher {trial.number + 1}, {design.model_name}: {error}")
            return
        path = self.folder / self._file(trial.number)
        self.queue.backend.save_file(path, saved(model))
        loss = min(history["val_loss"])
        self.study.tell(trial, loss)
        self.log(f"teacher {trial.number + 1}, {design.model_name}: validation loss {loss:.4f}")

    @staticmethod
    def _file(number: int) -> str:
        return f"teacher-{number}.keras"


def _is_distribution(outputs: np.ndarray) -> bool:
    sums = outputs.sum(axis=-1)
    return bool(np.allclose(sums, 1.0, atol=1e-3) and (outputs >= 0.0).all())
