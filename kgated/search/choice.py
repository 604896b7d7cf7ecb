"""Chooses one of the trained files, and explains the choice in sentences."""

from dataclasses import dataclass

from kgated_edge.evaluation.confidence import wilson_interval

from kgated.search.measurement.files import Budget
from kgated.search.trials.outcome import Outcome, Rejected
from kgated.study.tasks.metrics import Metric

ROUNDING = 1e-9


@dataclass(frozen=True)
class Goal:
    """The accuracy that the chosen file must have.

    Attributes:
        min_accuracy: on the validation data; None: by the tolerance.
        tolerance: by how much the file may be worse than the best file that meets the limits:
            absolute for an accuracy, relative for an error.
    """

    min_accuracy: float | None = None
    tolerance: float = 0.01

    def score(self, best: Outcome, metric: Metric) -> float:
        """The lowest score allowed, where `best` is the best file that meets the limits."""
        if self.min_accuracy is not None:
            return self.min_accuracy
        unit = abs(best.value) if metric.tolerance_is_relative else 1.0
        return best.score - self.tolerance * unit - ROUNDING


@dataclass(frozen=True)
class Choice:
    """The chosen file.

    Attributes:
        outcome: of its trial.
        reached: whether it meets the goal.
        goal: the value of the metric that it must have.
        fitting: the number of files that meet the limits.
    """

    outcome: Outcome
    reached: bool
    goal: float
    fitting: int


def choose(outcomes: list[Outcome], budget: Budget, goal: Goal, metric: Metric) -> Choice:
    """The smallest file that meets the limits and the goal; if there is none, the best file.

    Raises:
        ValueError: no file meets the limits.
    """
    fitting = [outcome for outcome in outcomes if outcome.cost.fits(budget)]
    if not fitting:
        raise ValueError(_nothing_fits(outcomes, budget))
    best = max(fitting, key=lambda outcome: (outcome.score, -outcome.val_loss))
    needed = goal.score(best, metric)
    accurate = [outcome for outcome in fitting if outcome.score >= needed]
    value = needed if metric.higher_is_better else -needed
    if not accurate:
        return Choice(best, False, value, len(fitting))
    smallest = min(accurate, key=lambda o: (o.cost.size(budget), o.cost.step_us_p50))
    return Choice(smallest, True, value, len(fitting))


@dataclass(frozen=True)
class Explanation:
    """The results that the explanation of a choice needs.

    Attributes:
        choice: the chosen file.
        outcomes: of all trained designs.
        rejected: designs that were not trained to the end.
        budget: the limits.
        metric: of the task.
        test: the chosen file's value on the test data.
        decisions: number of test sequences, where each is one decision; else None.
    """

    choice: Choice
    outcomes: list[Outcome]
    rejected: list[Rejected]
    budget: Budget
    metric: Metric
    test: float
    decisions: int | None = None

    def sentences(self) -> tuple[str, ...]:
        """Sentences: the chosen file, the reason, and the nearest files that were not chosen."""
        interval, text = "", self.metric.text(self.test)
        if self.decisions is not None:
            limits = wilson_interval(round(self.test * self.decisions), self.decisions)
            interval = f" (95% interval {100 * limits.low:.1f} to {100 * limits.high:.1f})"
        chosen = f"Take {self._named(self.choice.outcome)}; {text} on the test data{interval}."
        sentences = [chosen, self._reason(), *self._neighbours()]
        untrained = sum(not design.was_trained for design in self.rejected)
        if untrained:
            sentences.append(f"{_designs(untrained)} rejected before the training.")
        if stopped := len(self.rejected) - untrained:
            sentences.append(f"{_designs(stopped)} stopped in the training.")
        return tuple(sentences)

    def _reason(self) -> str:
        budget, choice = self.budget, self.choice
        limits = f"{budget.max_kib:g} KiB" + (" after gzip" if budget.compressed else "")
        if budget.deadline_us is not None:
            limits += f" and {budget.deadline_us:g} µs"
        goal = f"{self.metric.named(choice.goal)} or better on validation"
        if not choice.reached:
            return (
                f"No file within {limits} has {goal}: it is the best one of {choice.fitting}. "
                "Allow more KiB, or give more trials or data."
            )
        return f"It is the smallest of {choice.fitting} files within {limits} that has {goal}."

    def _neighbours(self) -> list[str]:
        """The nearest candidates that were not chosen, each for its reason."""
        chosen, budget, sentences = self.choice.outcome, self.budget, []
        size, goal = chosen.cost.size(budget), self.metric.gain(self.choice.goal, 0.0)
        fitting = [o for o in self.outcomes if o.cost.fits(budget) and o is not chosen]
        smaller = [o for o in fitting if o.cost.size(budget) <= size and o.score < goal]
        if smaller:
            nearest = max(smaller, key=lambda o: o.score)
            sentences.append(f"Smaller, but not good enough: {self._named(nearest)}.")
        better = [o for o in fitting if o.score > chosen.score]
        if better:
            nearest = min(better, key=lambda o: o.cost.size(budget))
            sentences.append(f"Better, but larger: {self._named(nearest)}.")
        equal = [o for o in fitting if goal <= o.score <= chosen.score]
        if self.choice.reached and equal:
            nearest = min(equal, key=lambda o: o.cost.size(budget))
            sentences.append(f"Good enough, but not smaller: {self._named(nearest)}.")
        missed = [o for o in self.outcomes if not o.cost.fits(budget)]
        if missed:
            nearest = max(missed, key=lambda o: o.score)
            reason = nearest.cost.misses(budget)
            sentences.append(f"Above a limit ({reason}): {self._named(nearest)}.")
        return sentences

    def _named(self, outcome: Outcome) -> str:
        cost = outcome.cost
        return (
            f"{outcome.name} with {cost.size(self.budget) / 1024:.1f} KiB, {cost.step_us_p50:.1f} "
            f"µs per step (p99 {cost.step_us_p99:.1f}), "
            f"{self.metric.named(outcome.value)} on validation"
        )


def _designs(count: int) -> str:
    return "1 design was" if count == 1 else f"{count} designs were"


def _nothing_fits(outcomes: list[Outcome], budget: Budget) -> str:
    if not outcomes:
        return "no design was trained: see the reasons above, and allow more KiB or µs"
    nearest = min(outcomes, key=lambda outcome: max(outcome.cost.excess(budget)))
    reason = nearest.cost.misses(budget)
    return f"no trained file meets the limits; the nearest is {nearest.name}: {reason}"
