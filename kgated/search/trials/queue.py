"""The queue of the trials of a search: several objectives, constraints, pruning."""

from contextlib import AbstractContextManager
from typing import Any

from kgated.study.storage.queue import WORKER, TrialQueue

STUDY = "search"
# Score on the device, bytes, microseconds; with constraints for the limits.
DIRECTIONS = ("maximize", "minimize", "minimize")
REASON, SECONDS = "reason", "seconds"
CURVE, PARAMETERS, SEED = "curve", "parameters", "seed"
STARTUP_TRIALS = 8
MIN_PEERS, MIN_EPOCHS = 3, 10  # of the median stopping rule
MIN_FRACTION = 0.3  # of the epochs, before which no training is pruned: large models start slowly
# Designs that are rejected before their training do not count as trials; this bounds their number.
MAX_REJECTED = 10  # times the number of trials


class SearchQueue(TrialQueue):
    """`TrialQueue` for trials with several objectives and limits."""

    def hold(self, name: str) -> AbstractContextManager[None]:
        """A lock among the processes of the search."""
        return self.locks.hold(name)

    def search(self) -> Any:
        """The Optuna study of the search, created if there is none."""
        with self.hold("turn"):
            return self.optuna.create_study(
                storage=self.storage,
                study_name=STUDY,
                load_if_exists=True,
                directions=DIRECTIONS,
            )

    def next(self, study: Any, max_trials: int) -> Any:
        """The next trial for this process, or None where `max_trials` are done or under way.

        The sampler is seeded by the first number that no other trial has, which is that of a killed
        one: a continued search draws what it would have drawn without the kill.
        """
        with self.hold("turn"):
            self._requeue(study)
            states = self.optuna.trial.TrialState
            trials = [t for t in study.get_trials(deepcopy=False) if t.state != states.FAIL]
            rejected = sum(is_rejected(trial) for trial in trials)
            waiting = any(trial.state == states.WAITING for trial in trials)
            is_full = len(trials) - rejected >= max_trials or rejected >= MAX_REJECTED * max_trials
            if is_full and not waiting:
                return None
            seed = unused_seed([t for t in trials if t.state != states.WAITING])
            study.sampler = self.optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True
            )
            trial = study.ask()
            trial.set_user_attr(WORKER, self.worker)
            trial.set_user_attr(SEED, seed)
            return trial


def unused_seed(trials: list[Any]) -> int:
    """The first seed that none of the trials has; those of older versions have their position."""
    used = {trial.user_attrs.get(SEED, n) for n, trial in enumerate(trials)}
    return next(seed for seed in range(len(trials) + 1) if seed not in used)


def is_rejected(trial: Any) -> bool:
    """Whether a trial's design was rejected before it was trained."""
    return REASON in trial.user_attrs and CURVE not in trial.user_attrs


def should_prune(curve: list[float], parameters: int, trials: list[Any]) -> bool:
    """Whether to prune a training: models that are no larger were better at the same epoch.

    The median stopping rule: the lowest validation loss so far is above the median of the same
    of the trained models with at most as many parameters.

    Args:
        curve: the validation loss of each epoch so far.
        parameters: number of weights of the model.
        trials: of the study; those that are trained to the end count.
    """
    peers = []
    for trial in trials:
        losses, size = trial.user_attrs.get(CURVE), trial.user_attrs.get(PARAMETERS)
        if losses and size is not None and size <= parameters:
            peers.append(min(losses[: len(curve)]))
    return len(peers) >= MIN_PEERS and min(curve) > sorted(peers)[len(peers) // 2]
