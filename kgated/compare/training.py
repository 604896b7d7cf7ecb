"""One training of a candidate, with given hyperparameters."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kgated.compare.candidate_models import Candidate, build
from kgated.study.fitting import (
    LockCheck,
    TimeLimit,
    fit_model,
    refit_model,
    saved,
    scaled_augmentation,
)
from kgated.study.models import ModelOptions
from kgated.study.splits import Parts
from kgated.study.storage.backends import Backend
from kgated.study.storage.errors import version_errors
from kgated.training import Plan

AUGMENTATION = "augmentation"
CURVES = ("loss", "val_loss", "val_accuracy")

Values = dict[str, float]
"""Hyperparameters by name."""


@dataclass(frozen=True)
class Budget:
    """The limits of the training of each candidate.

    Attributes:
        seconds: of training, for the search and all seeds together.
        trials: maximum number of trials of the search.
        seeds: number of trainings with the chosen hyperparameters.
        epochs, patience: of each training; see `Plan`.
        refit: whether the seeds are trained on the training and validation data together, for the
            epochs that the search found best.
    """

    seconds: float
    trials: int = 8
    seeds: int = 3
    epochs: int = 100
    patience: int = 15
    refit: bool = True

    @property
    def first_seed(self) -> int:
        """The first seed to train after the search; without a refit, the search trained seed 0."""
        return 0 if self.refit else 1


@dataclass(frozen=True)
class Run:
    """One training of a candidate.

    Attributes:
        seed: of the weights and the order of the data.
        learning_rate, dropout: the hyperparameters.
        augmentation: strength of the augmentation, 1: as in `kgated train`; 0: none.
        val_loss: of the best epoch, whose weights are saved; None: there was no validation.
        best_epoch: that epoch, from 1; without validation the last one.
        epochs: number of epochs in all.
        seconds_to_best: from the start to the end of the best epoch.
        seconds: duration of the training.
        out_of_time: whether the time ended the training, and not early stopping.
        curves: a value per epoch of loss, val_loss, and val_accuracy where there are classes.
        file_name: of the saved model, in the folder of models.
    """

    seed: int
    learning_rate: float
    dropout: float
    augmentation: float
    val_loss: float | None
    best_epoch: int
    epochs: int
    seconds_to_best: float
    seconds: float
    out_of_time: bool
    curves: dict[str, list[float]]
    file_name: str

    @classmethod
    def of(cls, trial: Any) -> "Run":
        """The training of a trial that is complete.

        Raises:
            ValueError: another version of kgated stored it.
        """
        with version_errors():
            return cls(**trial.user_attrs["run"])


class Trainer:
    """Trains the models of a candidate and saves them.

    Args:
        candidate: the model.
        parts: the data.
        budget: of the candidate.
        folder: for the trained models; it exists.
        backend: stores the saved models.
    """

    def __init__(
        self, candidate: Candidate, parts: Parts, budget: Budget, folder: Path, backend: Backend
    ) -> None:
        self.candidate, self.parts, self.budget = candidate, parts, budget
        self.folder, self.backend = folder, backend

    def train(self, seed: int, values: Values, limit: TimeLimit, name: str) -> Run:
        """Train on the training data, and keep the epoch of the lowest validation loss.

        Args:
            seed: of the weights and the order of the data.
            values: the hyperparameters.
            limit: ends the training.
            name: of the saved model, after the candidate's.

        Raises:
            DivergenceError: the loss became NaN or infinite.
        """
        model = build(self.candidate, ModelOptions.of(self.parts, values["dropout"], seed))
        plan = self._plan(seed, values, self.budget.epochs)
        history = fit_model(model, self.parts, plan, [limit, self._lock_check()])
        return self._save(model, (seed, values), history, limit, name)

    def refit(self, seed: int, values: Values, search_run: Run, limit: TimeLimit, name: str) -> Run:
        """Train on the training and validation data, for as many epochs as were best in the search.

        With too little time it plans fewer epochs, so that the learning rate still falls to 0.

        Args:
            seed: of the weights and the order of the data.
            values: the hyperparameters.
            search_run: the best training of the search.
            limit: ends the training.
            name: of the saved model, after the candidate's.

        Raises:
            DivergenceError: the loss became NaN or infinite.
        """
        growth = len(self.parts.development) / len(self.parts.train)
        possible = int(limit.seconds / (growth * search_run.seconds / search_run.epochs))
        epochs = max(1, min(search_run.best_epoch, possible))
        everything = replace(self.parts, train=self.parts.development)
        model = build(self.candidate, ModelOptions.of(everything, values["dropout"], seed))
        plan = self._plan(seed, values, epochs)
        history = refit_model(model, self.parts, plan, [limit, self._lock_check()])
        run = self._save(model, (seed, values), history, limit, name)
        return replace(run, out_of_time=run.epochs < search_run.best_epoch)

    def _lock_check(self) -> LockCheck:
        return LockCheck(self.backend.locks)

    def _plan(self, seed: int, values: Values, epochs: int) -> Plan:
        return Plan(
            epochs,
            self.budget.patience,
            learning_rate=values["learning_rate"],
            disturbance=scaled_augmentation(values.get(AUGMENTATION, 0.0)),
            seed=seed,
        )

    def _save(
        self,
        model: Any,
        options: tuple[int, Values],
        history: dict[str, list[float]],
        limit: TimeLimit,
        name: str,
    ) -> Run:
        """Save a trained model, and describe its training."""
        seed, values = options
        file_name = f"{self.candidate.name}.{name}.keras"
        self.backend.save_file(self.folder / file_name, saved(model))
        epochs, losses = len(history["loss"]), history.get("val_loss")
        best = min(range(epochs), key=losses.__getitem__) if losses else epochs - 1
        return Run(
            seed=seed,
            learning_rate=values["learning_rate"],
            dropout=values["dropout"],
            augmentation=values.get(AUGMENTATION, 0.0),
            val_loss=float(losses[best]) if losses else None,
            best_epoch=best + 1,
            epochs=epochs,
            seconds_to_best=limit.times[best],
            seconds=limit.times[-1],
            out_of_time=limit.out_of_time,
            curves={
                key: [float(value) for value in history[key]] for key in CURVES if key in history
            },
            file_name=file_name,
        )
