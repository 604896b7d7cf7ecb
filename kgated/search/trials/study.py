"""The trials of a search: design, limits, training, file, measurement."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras

from kgated.deploy.recipe import QUANTIZATIONS
from kgated.errors import ConversionError
from kgated.optimize import ConstantSparsity, prune
from kgated.search.design.model import parts_of_frame_means
from kgated.search.design.space import Design, SearchSpace, Training
from kgated.search.measurement.files import Budget, FileBuilder, FileCost
from kgated.search.trials.outcome import Outcome, Rejected
from kgated.search.trials.queue import (
    CURVE,
    MIN_EPOCHS,
    MIN_FRACTION,
    PARAMETERS,
    REASON,
    SECONDS,
    SearchQueue,
    should_prune,
)
from kgated.search.trials.teacher import Teacher
from kgated.study.console import Log
from kgated.study.fitting import LockCheck, fit_model, saved
from kgated.study.models import parameter_count
from kgated.study.storage.errors import version_errors
from kgated.training import DivergenceError

OUTCOME, NAME = "outcome", "name"
Progress = Callable[[list[Outcome]], None]
# After pruning the model is trained again, shorter and with smaller steps.
FINE_TUNING = 0.4
# Of the mean time of a trial: with less time left no other one starts.
MIN_TIME_FRACTION = 0.5
# Of a file without its weights: 6 to 12 KiB in the files measured.
MAX_OVERHEAD_BYTES = 24 * 1024


@dataclass(frozen=True)
class Effort:
    """The limits of a search.

    Attributes:
        trials: maximum number of trained designs.
        seconds: of all trials, in all processes together; a trial that has begun ends.
        epochs, patience: of each training; see `Plan`.
    """

    trials: int = 40
    seconds: float = 1800.0
    epochs: int = 100
    patience: int = 20


class PrunedError(Exception):
    """A training that the median stopping rule ends."""


class MedianStopping(keras.callbacks.Callback):
    """Records the validation loss of each epoch, and ends a training by its rule or its time.

    Args:
        should_prune: called with the losses so far.
        seconds: how long the training may take; its first epoch always ends.
        min_epochs: before which no training is pruned.
    """

    def __init__(
        self, should_prune: Callable[[list[float]], bool], seconds: float, min_epochs: int
    ) -> None:
        super().__init__()
        self.should_prune, self.seconds, self.min_epochs = should_prune, seconds, min_epochs
        self.start = time.perf_counter()
        self.curve: list[float] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the loss, and apply the rule."""
        self.curve.append(float((logs or {})["val_loss"]))
        if len(self.curve) >= self.min_epochs and self.should_prune(self.curve):
            raise PrunedError
        if time.perf_counter() - self.start > self.seconds:
            self.model.stop_training = True


class SearchStudy:
    """Runs the trials of a search, and continues those of processes that ended early.

    Args:
        queue: the trials.
        space: the designs to choose from.
        builder: converts models and measures files.
        budget: the limits of the device.
        effort: the limits of the search.
        teacher: whose outputs the models learn from besides the labels, or None.
        log: takes a line for each trial that ends.
    """

    def __init__(
        self,
        queue: SearchQueue,
        space: SearchSpace,
        builder: FileBuilder,
        budget: Budget,
        effort: Effort,
        teacher: Teacher | None,
        log: Log,
    ) -> None:
        self.queue, self.space, self.builder = queue, space, builder
        self.budget, self.effort = budget, effort
        self.teacher, self.log = teacher, log
        self.study = queue.search()
        self.states = queue.optuna.trial.TrialState

    def run(self, progress: Progress) -> list[Outcome]:
        """Run trials until the number or the time is used up, in all processes.

        Args:
            progress: called with the outcomes so far, after each trial.

        Returns:
            The outcomes.
        """
        self.queue.enqueue(self.study, self.space.first_trials()[: self.effort.trials])
        progress(self.outcomes())
        while True:
            left = self.effort.seconds - self._spent()
            trial = None if self._is_over(left) else self.queue.next(self.study, self.effort.trials)
            if trial is not None:
                self._trial(trial, max(left, 0.0))
                progress(self.outcomes())
            elif not self.queue.wait(self.study):
                return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """The outcomes of all complete trials, of all processes."""
        trials = self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE,))
        with version_errors():
            return [Outcome.from_dict(trial.user_attrs[OUTCOME]) for trial in trials]

    def rejected(self) -> list[Rejected]:
        """The designs that were not trained, or not to the end."""
        trials = self.study.get_trials(deepcopy=False, states=(self.states.PRUNED,))
        return [
            Rejected(t.user_attrs[NAME], t.user_attrs[REASON], CURVE in t.user_attrs)
            for t in trials
        ]

    def _is_over(self, left: float) -> bool:
        """Whether the time left is too short for another trial; at least one trial is run."""
        times = [outcome.seconds for outcome in self.outcomes()]
        return bool(times) and left < MIN_TIME_FRACTION * sum(times) / len(times)

    def _spent(self) -> float:
        trials = self.study.get_trials(deepcopy=False)
        return float(sum(trial.user_attrs.get(SECONDS, 0.0) for trial in trials))

    def _trial(self, trial: Any, seconds: float) -> None:
        start = time.perf_counter()
        design, training = self.space.draw(trial)
        trial.set_user_attr(NAME, design.name)
        try:
            model = self.builder.untrained(design, training.dropout, seed=trial.number)
            trial.set_user_attr(PARAMETERS, parameter_count(model))
            if not self._surely_fits(design, parameter_count(model)):
                cost = self.builder.probe(design)
                if not cost.fits(self.budget):
                    self._constrain(trial, cost)
                    self._reject(trial, design, start, cost.misses(self.budget))
                    return
            outcome = self._outcome(trial, model, design, training, seconds)
        except PrunedError:
            self._reject(trial, design, start, "worse than smaller models at the same epoch")
        except (ConversionError, DivergenceError, RuntimeError) as error:
            self._reject(trial, design, start, str(error))
        else:
            self._complete(trial, outcome, time.perf_counter() - start)

    def _surely_fits(self, design: Design, parameters: int) -> bool:
        """Whether size and time are so far below the limits that no probe file is needed."""
        bits = QUANTIZATIONS[design.quantize].weight_bits
        size, limit = parameters * bits / 8 + MAX_OVERHEAD_BYTES, 1024 * self.budget.max_kib
        if self.budget.compressed or size > limit:
            return False
        deadline = self.budget.deadline_us
        return deadline is None or any(
            outcome.parameters >= parameters
            and outcome.design.layers >= design.layers
            and outcome.design.quantize == design.quantize
            and outcome.cost.step_us_p99 <= deadline / 2
            for outcome in self.outcomes()
        )

    def _reject(self, trial: Any, design: Design, start: float, reason: str) -> None:
        trial.set_user_attr(REASON, reason)
        trial.set_user_attr(SECONDS, time.perf_counter() - start)
        self.study.tell(trial, state=self.states.PRUNED)
        was_trained = "stopped" if CURVE in trial.user_attrs else "not trained"
        self.log(f"trial {trial.number + 1}, {design.name}: {was_trained}: {reason}")

    def _complete(self, trial: Any, outcome: Outcome, seconds: float) -> None:
        outcome = replace(outcome, seconds=seconds)
        trial.set_user_attr(SECONDS, seconds)
        trial.set_user_attr(OUTCOME, asdict(outcome))
        self._constrain(trial, outcome.cost)
        size = outcome.cost.size(self.budget)
        self.study.tell(trial, (outcome.score, size, outcome.cost.step_us_p50))
        value = self.builder.parts.task.metric.text(outcome.value)
        self.log(
            f"trial {trial.number + 1}, {outcome.design.name}: {value}, "
            f"{size / 1024:.1f} KiB, {outcome.cost.step_us_p50:.1f} µs, {outcome.epochs} epochs, "
            f"{seconds:.0f} s"
        )

    def _constrain(self, trial: Any, cost: FileCost) -> None:
        """Report to the sampler, once, by how much the limits are exceeded."""
        for name, excess in zip(("size", "time"), cost.excess(self.budget), strict=True):
            trial.set_constraint(name, excess)

    def _outcome(
        self,
        trial: Any,
        model: keras.Sequential,
        design: Design,
        training: Training,
        seconds: float,
    ) -> Outcome:
        trials = self.study.get_trials(deepcopy=False, states=(self.states.COMPLETE,))
        count = parameter_count(model)
        min_epochs = max(MIN_EPOCHS, round(MIN_FRACTION * self.effort.epochs))
        stopping = MedianStopping(
            lambda curve: should_prune(curve, count, trials), seconds, min_epochs
        )
        try:
            self._train(model, design, training, stopping, trial.number)
        finally:
            if stopping.curve:
                trial.set_user_attr(CURVE, stopping.curve)
        name = f"{design.name}-{trial.number}"
        folder = self.builder.folder
        file = folder / "files" / f"{name}.tflite"
        complete = self.builder.convert(model, design, file, self.builder.parts.train)
        backend = self.queue.backend
        backend.save_file(file, file.read_bytes())
        backend.save_file(folder / "models" / f"{name}.keras", saved(complete))
        cost, value = self.builder.measure(file, "validation")
        score = self.builder.parts.task.metric.gain(value, 0.0)
        loss, epochs = min(stopping.curve), len(stopping.curve)
        return Outcome(
            trial.number, design, training, count, loss, epochs, value, score, cost, seconds=0.0
        )

    def _train(
        self,
        model: keras.Sequential,
        design: Design,
        training: Training,
        stopping: MedianStopping,
        seed: int,
    ) -> None:
        """Train a design's model, on means of frames."""
        parts = parts_of_frame_means(self.builder.parts, design.stride)
        plan = training.plan(self.effort.epochs, self.effort.patience, seed)
        soft = None if self.teacher is None else self.teacher.soft_targets
        lock = LockCheck(self.queue.locks)
        fit_model(model, parts, plan, [stopping, lock], soft)
        if design.sparsity:
            schedule = ConstantSparsity(design.sparsity, 0)
            epochs = max(1, round(FINE_TUNING * self.effort.epochs))
            rate = FINE_TUNING * plan.learning_rate
            plan = replace(plan, epochs=epochs, learning_rate=rate)
            stopping.curve.clear()  # only that of the pruned model counts
            fit_model(model, parts, plan, [prune(model, schedule), stopping, lock], soft)
