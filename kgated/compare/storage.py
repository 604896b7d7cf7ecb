"""Trials in a journal file: shared by processes, continued after a kill, none run twice."""

import contextlib
import fcntl
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from kgated.optional_imports import from_extra

JOURNAL = "trials.journal"
WORKER = "worker"
POLL_S = 0.5


class FileLock:
    """A lock on a file that the system releases when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; False if another holder has it and `blocking` is off."""
        file = self.path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class TrialQueue:
    """The trials of all candidates in one folder.

    Start the same comparison in several processes: each trial is run by one of them. A trial whose
    process was killed is run again with its own parameters.

    Args:
        folder: the folder of the comparison; it exists.

    Raises:
        ImportError: optuna is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.optuna = from_extra("optuna", "compare")
        journal = from_extra("optuna.storages.journal", "compare")
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        self.locks = folder / ".locks"
        self.locks.mkdir(exist_ok=True)
        self._turn = FileLock(self.locks / "turn")
        self.worker = uuid.uuid4().hex
        self._alive = FileLock(self.locks / self.worker)
        self._alive.acquire()
        path = folder / JOURNAL
        lock = FileLock(self.locks / "journal")
        with lock:
            _drop_torn_line(path)
        backend = journal.JournalFileBackend(str(path), lock_obj=lock)
        self.storage = self.optuna.storages.JournalStorage(backend)

    def close(self) -> None:
        """Let other processes know that this one runs no trial any more."""
        self._alive.release()
        self._alive.path.unlink(missing_ok=True)

    def study(self, name: str) -> Any:
        """The study of this name, made if there is none; its value is minimized.

        The sampler depends on the number of trials so far, so that a continued search samples what
        it would have sampled without the kill.
        """
        with self._turn:
            return self.optuna.create_study(
                storage=self.storage,
                study_name=name,
                load_if_exists=True,
                pruner=self.optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5),
            )

    def take(self, study: Any, max_trials: int) -> Any:
        """The next trial for this process, or None where `max_trials` are done or under way."""
        with self._turn:
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
        """Add trials with these parameters, those alone that the study does not have."""
        with self._turn:
            for row in rows:
                study.enqueue_trial(row, skip_if_exists=True)

    def choose_once(self, study: Any, name: str, value: Any) -> Any:
        """The study's attribute: set to `value` by the first process that asks."""
        with self._turn:
            if name not in study.user_attrs:
                study.set_user_attr(name, value)
            return study.user_attrs[name]

    def wait(self, study: Any) -> bool:
        """Whether other processes still run trials of the study; waits a moment if they do."""
        running = self.optuna.trial.TrialState.RUNNING
        if not study.get_trials(deepcopy=False, states=(running,)):
            return False
        time.sleep(POLL_S)
        return True

    @contextlib.contextmanager
    def reporting(self) -> Iterator[None]:
        """One process at a time, for the measurements and the files of the report."""
        with FileLock(self.locks / "report"):
            yield

    def _requeue(self, study: Any) -> None:
        """Put the trials of processes that have ended back into the queue."""
        states = self.optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            if not self._is_alive(trial.user_attrs.get(WORKER)):
                study.tell(trial.number, state=states.FAIL)
                study.enqueue_trial(trial.params)

    def _is_alive(self, worker: str | None) -> bool:
        if worker is None or not (self.locks / worker).exists():
            return False
        lock = FileLock(self.locks / worker)
        is_dead = lock.acquire(blocking=False)
        lock.release()
        return not is_dead


def _drop_torn_line(path: Path) -> None:
    """Cut off the end of a journal that a kill left without its last newline."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        path.write_bytes(content[: content.rfind(b"\n") + 1])
