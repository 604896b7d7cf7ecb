"""A queue of trials that processes share: each trial is run once, also after a crash."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kgated.optional_imports import from_extra
from kgated.study.storage.backends import open_backend

WORKER = "worker"
POLL_S = 0.5


class TrialQueue:
    """The trials of all candidates.

    Start the same comparison in several processes: each trial is run by one of them. A trial whose
    process was killed is run again with its own parameters.

    Args:
        folder: the folder of the comparison; it exists.
        storage: the address of a PostgreSQL database; None: a journal file in the folder.

    Raises:
        ImportError: optuna is not installed.
        ValueError, OSError: the storage can't be used; see `open_backend`.
    """

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        self.optuna = from_extra("optuna", "compare")
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        self.backend = open_backend(folder, storage, self.optuna)
        self.locks, self.storage = self.backend.locks, self.backend.storage
        self.worker = uuid.uuid4().hex
        self.locks.register(self.worker)

    def close(self) -> None:
        """Let other processes know that this one runs no trial any more."""
        self.backend.close()

    def study(self, name: str) -> Any:
        """The Optuna study of this name, created if there is none; its value is minimized.

        The sampler depends on the number of trials so far, so that a continued search samples what
        it would have sampled without the kill.
        """
        with self.locks.hold("turn"):
            return self.optuna.create_study(
                storage=self.storage,
                study_name=name,
                load_if_exists=True,
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5),
            )

    def take(self, study: Any, max_trials: int) -> Any:
        """The next trial for this process, or None where `max_trials` are done or under way."""
        with self.locks.hold("turn"):
            self._requeue(study)
            trials = study.get_trials(deepcopy=False)
            states = self.optuna.trial.TrialState
            failed = sum(trial.state == states.FAIL for trial in trials)
            waiting = any(trial.state == states.WAITING for trial in trials)
            if not waiting and len(trials) - failed >= max_trials:
                return None
            study.sampler = self.optuna.samplers.TPESampler(
                seed=len(trials) - failed, n_startup_trials=4
            )
            trial = study.ask()
            trial.set_user_attr(WORKER, self.worker)
            return trial

    def enqueue(self, study: Any, rows: list[dict[str, Any]]) -> None:
        """Add trials with these parameters, except for those that the study has."""
        with self.locks.hold("turn"):
            for row in rows:
                study.enqueue_trial(row, skip_if_exists=True)

    def choose_once(self, study: Any, name: str, value: Any) -> Any:
        """An attribute of the study; the first process that calls this sets it to `value`."""
        with self.locks.hold("turn"):
            if study.user_attrs.get(name) is None:
                study.set_user_attr(name, value)
            return study.user_attrs[name]

    def forget(self, study: Any, name: str) -> None:
        """Take back what `choose_once` has set, unless a trial of any study depends on it."""
        with self.locks.hold("turn"):
            if not any(s.n_trials for s in self.optuna.get_all_study_summaries(self.storage)):
                study.set_user_attr(name, None)

    def wait(self, study: Any) -> bool:
        """Whether other processes still run trials of the study; waits a moment if they do."""
        with self.locks.hold("turn"):
            if self._requeue(study):
                return True  # what a killed process left is to be taken again
        running = self.optuna.trial.TrialState.RUNNING
        if not study.get_trials(deepcopy=False, states=(running,)):
            return False
        time.sleep(POLL_S)
        return True

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """One process at a time, for the measurements and the files of the report."""
        with self.locks.hold("report"):
            yield

    def _requeue(self, study: Any) -> int:
        """Put the trials of processes that have ended back into the queue; their number."""
        states, count = self.optuna.trial.TrialState, 0
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            worker = trial.user_attrs.get(WORKER)
            if worker is None or not self.locks.is_alive(worker):
                study.tell(trial.number, state=states.FAIL)
                # One that ended before it took its parameters has those of the queue alone.
                params = trial.system_attrs.get("fixed_params", {}) | trial.params
                if params:
                    study.enqueue_trial(params)
                count += 1
        return count
