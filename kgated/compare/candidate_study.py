"""The training of a candidate: a search for its hyperparameters, then the seeds."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.compare.candidate_models import Candidate
from kgated.compare.training import AUGMENTATION, Budget, Run, Trainer, Values
from kgated.study.console import Log
from kgated.study.fitting import TimeLimit
from kgated.study.hyperparameters import (
    AUGMENTATIONS,
    DROPOUTS,
    FIRST_AUGMENTATIONS,
    LEARNING_RATES,
)
from kgated.study.splits import Parts
from kgated.study.storage.queue import TrialQueue
from kgated.training import DivergenceError

# The first trial: the defaults of `kgated train`.
FIRST = {"learning_rate": 3e-3, "dropout": 0.3}
SEARCH_FRACTION = 0.5  # of a candidate's time; the trainings of the seeds share the rest
TRIAL_FRACTION = 0.5  # of the search's time that a trial may take, so that there are two or more
MIN_FRACTION = 0.3  # of the mean trial: with less time left no other one starts
CHOSEN = "search_trial"


@dataclass(frozen=True)
class Trained:
    """A candidate after its search and its seeds.

    Attributes:
        candidate: the model.
        search_run: the best training of the search.
        runs: a training per seed, by seed; without a refit the first one is `search_run`.
        trials, pruned: number of trials of the search, and of those that were stopped early.
        seconds: of all trainings.
    """

    candidate: Candidate
    search_run: Run
    runs: tuple[Run, ...]
    trials: int
    pruned: int
    seconds: float


class CandidateStudy:
    """The trials of one candidate. Each method continues where an earlier process ended.

    Args:
        queue: the trials of the comparison.
        candidate: the model.
        parts: the data.
        budget: of the candidate.
        folder: for the trained models; it exists.
        log: takes a line for each trial that ends.
        show: takes the state of the training after each epoch.
    """

    def __init__(
        self,
        queue: TrialQueue,
        candidate: Candidate,
        parts: Parts,
        budget: Budget,
        folder: Path,
        log: Log,
        show: Log = lambda text: None,
    ) -> None:
        self.queue, self.candidate, self.parts = queue, candidate, parts
        self.budget, self.log, self.show = budget, log, show
        self.trainer = Trainer(candidate, parts, budget, folder, queue.backend)
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
        seeds = range(self.budget.first_seed, self.budget.seeds)
        rows = [{"seed": seed, **best.params} for seed in seeds]
        self.queue.enqueue(self.seed_study, rows)
        self._train_seeds()
        trained = [Run.of(trial) for trial in self._complete(self.seed_study)]
        search_run = Run.of(best)
        runs = [] if self.budget.refit else [search_run]
        runs = [*runs, *sorted(trained, key=lambda run: run.seed)][: self.budget.seeds]
        trials = self.search_study.get_trials(deepcopy=False)
        states = [trial.state.name for trial in trials]
        return Trained(
            self.candidate,
            search_run,
            tuple(runs),
            states.count("COMPLETE") + states.count("PRUNED"),
            states.count("PRUNED"),
            self._spent(self.search_study) + sum(run.seconds for run in trained),
        )

    def _search(self) -> None:
        study, limit = self.search_study, self._search_seconds()
        self.queue.enqueue(study, self._first_trials())
        while True:
            spent = self._spent(study)
            ended = bool(self._complete(study)) and limit - spent < self._min_seconds()
            trial = None if ended else self.queue.take(study, self.budget.trials)
            if trial is not None:
                part = limit * (TRIAL_FRACTION if self.budget.trials > 1 else 1.0)
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
        is_all = self.budget.seeds == self.budget.first_seed
        return self.budget.seconds * (1.0 if is_all else SEARCH_FRACTION)

    def _min_seconds(self) -> float:
        """Seconds below which no new trial starts: a fraction of the mean of complete trials."""
        times = [trial.user_attrs["seconds"] for trial in self._complete(self.search_study)]
        return MIN_FRACTION * sum(times) / len(times)

    def _search_trial(self, trial: Any, seconds: float) -> None:
        values = self._suggest(trial)
        limit = TimeLimit(seconds, trial, self.queue.optuna.TrialPruned)
        name = f"{self.candidate.name}: trial {trial.number + 1}"
        self._run_trial(self.search_study, trial, limit, (0, values), name)

    def _run_trial(
        self, study: Any, trial: Any, limit: TimeLimit, options: tuple[int, Values], name: str
    ) -> None:
        """Train with a seed and hyperparameters, and store how it ended."""
        start, states = time.perf_counter(), self.queue.optuna.trial.TrialState
        left = self.budget.seconds - sum(map(self._spent, (self.search_study, self.seed_study)))
        limit.show = lambda epoch, seconds: self.show(
            f"{name}, epoch {epoch}, {max(left - seconds, 0.0) / 60:.1f} min of its budget left"
        )
        kind = "search" if study is self.search_study else "seeds"
        train = self._refit if kind == "seeds" and self.budget.refit else self._train
        try:
            run = train(*options, limit, f"{kind}-{trial.number}")
        except (self.queue.optuna.TrialPruned, DivergenceError) as error:
            reason = "diverged" if isinstance(error, DivergenceError) else "pruned"
            trial.set_user_attr("seconds", time.perf_counter() - start)
            trial.set_user_attr("reason", reason)
            study.tell(trial, state=states.PRUNED)
            self.log(f"{name} {reason}, {limit.times[-1] if limit.times else 0:.0f} s")
            return
        self._tell(study, trial, run, name)

    def _train_seeds(self) -> None:
        spent = self._spent(self.search_study)
        seconds = (self.budget.seconds - spent) / max(1, self.budget.seeds - self.budget.first_seed)
        while True:
            trial = self.queue.take(self.seed_study, 0)
            if trial is None:
                if not self.queue.wait(self.seed_study):
                    return
                continue
            seed = trial.suggest_int("seed", 0, 10**6)
            values = self._suggest(trial)
            name = f"{self.candidate.name}: seed {seed}"
            self._run_trial(self.seed_study, trial, TimeLimit(seconds), (seed, values), name)

    def _train(self, seed: int, values: Values, limit: TimeLimit, name: str) -> Run:
        return self.trainer.train(seed, values, limit, name)

    def _refit(self, seed: int, values: Values, limit: TimeLimit, name: str) -> Run:
        search_run = Run.of(self._best_trial())
        return self.trainer.refit(seed, values, search_run, limit, name)

    def _tell(self, study: Any, trial: Any, run: Run, name: str) -> None:
        trial.set_user_attr("seconds", run.seconds)
        trial.set_user_attr("run", vars(run))
        end = f"{run.seconds:.0f} s{', out of time' if run.out_of_time else ''}"
        if run.val_loss is None:
            study.tell(trial, run.curves["loss"][-1])
            self.log(f"{name}, all data, {run.epochs} epochs, {end}")
            return
        study.tell(trial, run.val_loss)
        self.log(
            f"{name}, validation loss {run.val_loss:.4f} in epoch {run.best_epoch} of "
            f"{run.epochs}, {end}"
        )

    def _best_trial(self) -> Any:
        """The best trial of the search; the first call fixes it for all processes."""
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
