"""The training of a candidate: a search for its hyperparameters, then the seeds."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.compare.candidates import Candidate, ModelOptions, build
from kgated.compare.fitting import Watch, disturbance, fit_model, saved
from kgated.compare.splits import Parts
from kgated.compare.storage import TrialQueue
from kgated.training import DivergenceError, Plan

# The range of the search, and its first trial: the defaults of `kgated train`.
LEARNING_RATES, DROPOUTS = (5e-4, 2e-2), (0.0, 0.5)
FIRST = {"learning_rate": 3e-3, "dropout": 0.3}
# The strengths of the augmentation, a factor of all of it, that are tried first.
AUGMENTATIONS, FIRST_AUGMENTATIONS = (0.0, 1.0), (1.0, 0.1)
SEARCH_PART = 0.5  # of a candidate's time; the seeds share the rest
TRIAL_PART = 0.5  # of the search's time that a trial may take, so that there are two or more
MIN_PART = 0.3  # of a trial's time that has to be left for another one
CHOSEN, AUGMENTATION = "search_trial", "augmentation"
CURVES = ("loss", "val_loss", "val_accuracy")

Log = Callable[[str], None]
Values = dict[str, float]
"""Hyperparameters by name."""


@dataclass(frozen=True)
class Budget:
    """What each candidate may use.

    Attributes:
        seconds: of training, for the search and all seeds together.
        trials: maximum number of trials of the search.
        seeds: number of trainings with the chosen hyperparameters.
        epochs, patience: of each training; see `Plan`.
    """

    seconds: float
    trials: int = 8
    seeds: int = 3
    epochs: int = 100
    patience: int = 15


@dataclass(frozen=True)
class Run:
    """One training of a candidate.

    Attributes:
        seed: of the weights and the order of the data.
        learning_rate, dropout: the hyperparameters.
        augmentation: strength of the augmentation, 1: as in `kgated train`; 0: none.
        val_loss: of the best epoch, whose weights are saved.
        best_epoch: that epoch, from 1.
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
    val_loss: float
    best_epoch: int
    epochs: int
    seconds_to_best: float
    seconds: float
    out_of_time: bool
    curves: dict[str, list[float]]
    file_name: str


@dataclass(frozen=True)
class Trained:
    """A candidate after its search and its seeds.

    Attributes:
        candidate: the model.
        runs: a training per seed, by seed.
        trials, pruned: number of trials of the search, and of those that were stopped early.
        seconds: of all trainings.
    """

    candidate: Candidate
    runs: tuple[Run, ...]
    trials: int
    pruned: int
    seconds: float


class CandidateStudy:
    """The trials of one candidate; each method continues where a killed process stopped.

    Args:
        queue: the trials of the comparison.
        candidate: the model.
        parts: the data.
        budget: of the candidate.
        folder: for the trained models; it exists.
        log: takes a line for each trial that ends.
    """

    def __init__(
        self,
        queue: TrialQueue,
        candidate: Candidate,
        parts: Parts,
        budget: Budget,
        folder: Path,
        log: Log,
    ) -> None:
        self.queue, self.candidate, self.parts = queue, candidate, parts
        self.budget, self.folder, self.log = budget, folder, log
        self.search_study = queue.study(f"{candidate.name}/search")
        self.seed_study = queue.study(f"{candidate.name}/seeds")

    def run(self) -> Trained:
        """Search, train the seeds, and return what was trained.

        Raises:
            ValueError: every trial of the search diverged.
        """
        if CHOSEN not in self.search_study.user_attrs:
            self._search()
        best = self._best_trial()
        rows = [
            {"seed": seed, **best.params} for seed in range(1, self.budget.seeds)
        ]  # seed 0 is the search's
        self.queue.enqueue(self.seed_study, rows)
        self._train_seeds()
        seeds = [Run(**trial.user_attrs["run"]) for trial in self._complete(self.seed_study)]
        first = Run(**best.user_attrs["run"])
        runs = [first, *sorted(seeds, key=lambda run: run.seed)][: self.budget.seeds]
        trials = self.search_study.get_trials(deepcopy=False)
        states = [trial.state.name for trial in trials]
        return Trained(
            self.candidate,
            tuple(runs),
            states.count("COMPLETE") + states.count("PRUNED"),
            states.count("PRUNED"),
            self._spent(self.search_study) + sum(run.seconds for run in seeds),
        )

    def _search(self) -> None:
        study, limit = self.search_study, self._search_seconds()
        self.queue.enqueue(study, self._first_trials())
        while True:
            spent = self._spent(study)
            ended = bool(self._complete(study)) and limit - spent < self._min_seconds()
            trial = None if ended else self.queue.take(study, self.budget.trials)
            if trial is not None:
                part = limit * (TRIAL_PART if self.budget.trials > 1 else 1.0)
                self._search_trial(trial, max(min(limit - spent, part), 0.0))
            elif not self.queue.wait(study):
                return

    def _first_trials(self) -> list[Values]:
        if not self.parts.task.augments:
            return [FIRST]
        rows = [{**FIRST, AUGMENTATION: strength} for strength in reversed(FIRST_AUGMENTATIONS)]
        return rows[: self.budget.trials]

    def _suggest(self, trial: Any) -> Values:
        values = {
            "learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
            "dropout": trial.suggest_float("dropout", *DROPOUTS),
        }
        if self.parts.task.augments:
            values[AUGMENTATION] = trial.suggest_float(AUGMENTATION, *AUGMENTATIONS)
        return values

    def _search_seconds(self) -> float:
        return self.budget.seconds * (SEARCH_PART if self.budget.seeds > 1 else 1.0)

    def _min_seconds(self) -> float:
        """The time below which another trial is not begun: a part of a complete one's."""
        times = [trial.user_attrs["seconds"] for trial in self._complete(self.search_study)]
        return MIN_PART * sum(times) / len(times)

    def _search_trial(self, trial: Any, seconds: float) -> None:
        values = self._suggest(trial)
        watch = Watch(seconds, trial, self.queue.optuna.TrialPruned)
        name = f"{self.candidate.name}: trial {trial.number + 1}"
        self._run_trial(self.search_study, trial, watch, (0, values), name)

    def _run_trial(
        self, study: Any, trial: Any, watch: Watch, options: tuple[int, Values], name: str
    ) -> None:
        """Train with a seed and hyperparameters, and store how it ended."""
        start, states = time.perf_counter(), self.queue.optuna.trial.TrialState
        kind = "search" if study is self.search_study else "seeds"
        try:
            run = self._train(*options, watch, f"{kind}-{trial.number}")
        except (self.queue.optuna.TrialPruned, DivergenceError) as error:
            reason = "diverged" if isinstance(error, DivergenceError) else "pruned"
            trial.set_user_attr("seconds", time.perf_counter() - start)
            trial.set_user_attr("reason", reason)
            study.tell(trial, state=states.PRUNED)
            self.log(f"{name} {reason}, {watch.times[-1] if watch.times else 0:.0f} s")
            return
        self._tell(study, trial, run, name)

    def _train_seeds(self) -> None:
        spent = self._spent(self.search_study)
        seconds = (self.budget.seconds - spent) / max(1, self.budget.seeds - 1)
        while True:
            trial = self.queue.take(self.seed_study, 0)
            if trial is None:
                if not self.queue.wait(self.seed_study):
                    return
                continue
            seed = trial.suggest_int("seed", 0, 10**6)
            values = self._suggest(trial)
            name = f"{self.candidate.name}: seed {seed}"
            self._run_trial(self.seed_study, trial, Watch(seconds), (seed, values), name)

    def _train(self, seed: int, values: Values, watch: Watch, name: str) -> Run:
        parts, budget = self.parts, self.budget
        model = build(self.candidate, ModelOptions.of(parts, values["dropout"], seed))
        plan = Plan(
            budget.epochs,
            budget.patience,
            learning_rate=values["learning_rate"],
            disturbance=disturbance(values.get(AUGMENTATION, 0.0)),
            seed=seed,
        )
        history = fit_model(model, parts, plan, [watch])
        file_name = f"{self.candidate.name}.{name}.keras"
        self.queue.backend.save_file(self.folder / file_name, saved(model))
        losses = history["val_loss"]
        best = min(range(len(losses)), key=losses.__getitem__)
        return Run(
            seed=seed,
            learning_rate=values["learning_rate"],
            dropout=values["dropout"],
            augmentation=values.get(AUGMENTATION, 0.0),
            val_loss=float(losses[best]),
            best_epoch=best + 1,
            epochs=len(losses),
            seconds_to_best=watch.times[best],
            seconds=watch.times[-1],
            out_of_time=watch.out_of_time,
            curves={
                key: [float(value) for value in history[key]] for key in CURVES if key in history
            },
            file_name=file_name,
        )

    def _tell(self, study: Any, trial: Any, run: Run, name: str) -> None:
        trial.set_user_attr("seconds", run.seconds)
        trial.set_user_attr("run", vars(run))
        study.tell(trial, run.val_loss)
        end = ", out of time" if run.out_of_time else ""
        self.log(
            f"{name}, validation loss {run.val_loss:.4f} in epoch {run.best_epoch} of "
            f"{run.epochs}, {run.seconds:.0f} s{end}"
        )

    def _best_trial(self) -> Any:
        """The best trial of the search; it stays the best, whatever is added later."""
        complete = self._complete(self.search_study)
        if not complete:
            raise ValueError(
                f"{self.candidate.name}: every trial diverged: look for huge values in the data"
            )
        best = min(complete, key=lambda trial: trial.value).number
        number = self.queue.choose_once(self.search_study, CHOSEN, best)
        return next(trial for trial in complete if trial.number == number)

    def _complete(self, study: Any) -> list[Any]:
        complete = self.queue.optuna.trial.TrialState.COMPLETE
        return list(study.get_trials(deepcopy=False, states=(complete,)))

    def _spent(self, study: Any) -> float:
        """Seconds of the trials that ended, in all processes."""
        trials = study.get_trials(deepcopy=False)
        return float(sum(trial.user_attrs.get("seconds", 0.0) for trial in trials))
