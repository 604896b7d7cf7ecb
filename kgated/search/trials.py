"""The trials of a search in the journal file: a sampler of several objectives, limits, pruning."""

from typing import Any

from kgated.compare.storage import WORKER, TrialQueue

STUDY = "search"
# Accuracy on the device, bytes, microseconds.
DIRECTIONS = ("maximize", "minimize", "minimize")
EXCESS, REASON, SECONDS, CURVE, COST = "excess", "reason", "seconds", "curve", "cost"
STARTUP_TRIALS = 8
# Designs that are rejected before their training are no trials; but the search has an end.
MAX_REJECTED = 10  # times the number of trials


class SearchQueue(TrialQueue):
    """`TrialQueue` for trials with several objectives and limits."""

    def search(self) -> Any:
        """The study of the search, made if there is none."""
        with self._turn:
            return self.optuna.create_study(
                storage=self.storage,
                study_name=STUDY,
                load_if_exists=True,
                directions=DIRECTIONS,
            )

    def next(self, study: Any, max_trials: int) -> Any:
        """The next trial for this process, or None where `max_trials` are done or under way.

        The sampler is seeded by the number of trials so far: a continued search draws what it
        would have drawn without the kill.
        """
        with self._turn:
            self._requeue(study)
            states = self.optuna.trial.TrialState
            trials = [t for t in study.get_trials(deepcopy=False) if t.state != states.FAIL]
            rejected = sum(is_rejected(trial) for trial in trials)
            waiting = any(trial.state == states.WAITING for trial in trials)
            is_full = len(trials) - rejected >= max_trials or rejected >= MAX_REJECTED * max_trials
            if is_full and not waiting:
                return None
            study.sampler = self.optuna.samplers.TPESampler(
                seed=len(trials),
                n_startup_trials=STARTUP_TRIALS,
                multivariate=True,
                constraints_func=_excess,
            )
            trial = study.ask()
            trial.set_user_attr(WORKER, self.worker)
            return trial


def is_rejected(trial: Any) -> bool:
    """Whether a trial's design was rejected before it was trained."""
    return REASON in trial.user_attrs and CURVE not in trial.user_attrs


def is_hopeless(curve: list[float], cost: tuple[float, float], trials: list[Any]) -> bool:
    """Whether a training is worse than models that cost no more, at the same epoch.

    The median rule: the lowest validation loss so far is above the median of that of the trained
    models that have no larger file and no slower step. So a small model is compared with smaller
    ones alone.

    Args:
        curve: the validation loss of each epoch so far.
        cost: bytes and microseconds of the design.
        trials: of the study; those that are trained to the end count.
    """
    peers = []
    for trial in trials:
        losses, costs = trial.user_attrs.get(CURVE), trial.user_attrs.get(COST)
        if losses and costs and costs[0] <= cost[0] and costs[1] <= cost[1]:
            peers.append(min(losses[: len(curve)]))
    if len(peers) < MIN_PEERS:
        return False
    middle = sorted(peers)[len(peers) // 2]
    return min(curve) > middle


MIN_PEERS, MIN_EPOCHS = 3, 10


def _excess(trial: Any) -> tuple[float, ...]:
    """By which fraction the limits are missed; Optuna takes above 0 for a missed one."""
    return tuple(trial.user_attrs.get(EXCESS, (0.0, 0.0)))
