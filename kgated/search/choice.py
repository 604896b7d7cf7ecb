"""Which of the trained files is taken, and why, in plain words."""

from dataclasses import dataclass

from kgated.compare.charts import wilson
from kgated.search.files import Budget
from kgated.search.outcome import Outcome, Rejected

ROUNDING = 1e-9


@dataclass(frozen=True)
class Goal:
    """How accurate the file has to be.

    Attributes:
        min_accuracy: on the validation data; None: by the tolerance.
        tolerance: how much less accurate than the best file that meets the limits.
    """

    min_accuracy: float | None = None
    tolerance: float = 0.01

    def accuracy(self, best: float) -> float:
        """The lowest accuracy allowed, where the best file that meets the limits has `best`."""
        if self.min_accuracy is not None:
            return self.min_accuracy
        return best - self.tolerance - ROUNDING


@dataclass(frozen=True)
class Choice:
    """The file that is taken.

    Attributes:
        outcome: of its trial.
        reached: whether it is as accurate as asked for.
        goal: the lowest accuracy allowed.
        fitting: how many files meet the limits.
    """

    outcome: Outcome
    reached: bool
    goal: float
    fitting: int


def choose(outcomes: list[Outcome], budget: Budget, goal: Goal) -> Choice:
    """The smallest file that meets the limits and is accurate enough; else the most accurate.

    Raises:
        ValueError: no file meets the limits.
    """
    fitting = [outcome for outcome in outcomes if outcome.cost.fits(budget)]
    if not fitting:
        raise ValueError(_nothing_fits(outcomes, budget))
    best = max(fitting, key=lambda outcome: (outcome.accuracy, -outcome.val_loss))
    needed = goal.accuracy(best.accuracy)
    accurate = [outcome for outcome in fitting if outcome.accuracy >= needed]
    if not accurate:
        return Choice(best, False, needed, len(fitting))
    smallest = min(accurate, key=lambda o: (o.cost.size(budget), o.cost.step_us_p50))
    return Choice(smallest, True, needed, len(fitting))


def explain(
    choice: Choice,
    outcomes: list[Outcome],
    rejected: list[Rejected],
    budget: Budget,
    test: tuple[float, int],
) -> tuple[str, ...]:
    """Sentences: what was chosen, why, and what the nearest rejected candidates were.

    Args:
        choice: what was chosen.
        outcomes: all that was trained.
        rejected: what was not trained to the end.
        budget: the limits.
        test: accuracy of the chosen file on the test data, and their number of sequences.
    """
    accuracy, count = test
    low, high = wilson(accuracy, count)
    chosen = choice.outcome
    sentences = [
        f"Take {chosen.name}: {_figures(chosen, budget)}; {100 * accuracy:.1f}% on the test data "
        f"(95% interval {100 * low:.1f} to {100 * high:.1f}).",
        _reason(choice, budget),
        *_neighbours(choice, outcomes, budget),
    ]
    untrained = sum(not design.was_trained for design in rejected)
    stopped = len(rejected) - untrained
    if untrained:
        sentences.append(f"{_designs(untrained)} rejected before the training.")
    if stopped:
        sentences.append(f"{_designs(stopped)} stopped in the training.")
    return tuple(sentences)


def _reason(choice: Choice, budget: Budget) -> str:
    limits = f"{budget.max_kib:g} KiB" + (" after gzip" if budget.compressed else "")
    if budget.deadline_us is not None:
        limits += f" and {budget.deadline_us:g} µs"
    needed = f"{100 * choice.goal:.1f}% on the validation data"
    if not choice.reached:
        return (
            f"No file within {limits} has {needed}: it is the most accurate one of "
            f"{choice.fitting}. Allow more KiB, or give more trials or data."
        )
    return f"It is the smallest of {choice.fitting} files within {limits} that has {needed}."


def _neighbours(choice: Choice, outcomes: list[Outcome], budget: Budget) -> list[str]:
    """The nearest candidates that were not chosen, each for its reason."""
    chosen, sentences = choice.outcome, []
    size = chosen.cost.size(budget)
    fitting = [o for o in outcomes if o.cost.fits(budget) and o is not chosen]
    smaller = [o for o in fitting if o.cost.size(budget) <= size and o.accuracy < choice.goal]
    if smaller:
        nearest = max(smaller, key=lambda o: o.accuracy)
        sentences.append(f"Smaller, but not accurate enough: {_named(nearest, budget)}.")
    better = [o for o in fitting if o.accuracy > chosen.accuracy]
    if better:
        nearest = min(better, key=lambda o: o.cost.size(budget))
        sentences.append(f"More accurate, but larger: {_named(nearest, budget)}.")
    equal = [o for o in fitting if choice.goal <= o.accuracy <= chosen.accuracy]
    if choice.reached and equal:
        nearest = min(equal, key=lambda o: o.cost.size(budget))
        sentences.append(f"Accurate enough, but larger: {_named(nearest, budget)}.")
    missed = [o for o in outcomes if not o.cost.fits(budget)]
    if missed:
        nearest = max(missed, key=lambda o: o.accuracy)
        reason = nearest.cost.misses(budget)
        sentences.append(f"Above a limit ({reason}): {_named(nearest, budget)}.")
    return sentences


def _named(outcome: Outcome, budget: Budget) -> str:
    return f"{outcome.name} with {_figures(outcome, budget)}"


def _figures(outcome: Outcome, budget: Budget) -> str:
    return (
        f"{outcome.cost.size(budget) / 1024:.1f} KiB, {outcome.cost.step_us_p50:.1f} µs per step "
        f"(p99 {outcome.cost.step_us_p99:.1f}), {100 * outcome.accuracy:.1f}% on the validation "
        "data"
    )


def _designs(count: int) -> str:
    return "1 design was" if count == 1 else f"{count} designs were"


def _nothing_fits(outcomes: list[Outcome], budget: Budget) -> str:
    if not outcomes:
        return "no design was trained: see the reasons above, and allow more KiB or µs"
    nearest = min(outcomes, key=lambda outcome: max(outcome.cost.excess(budget)))
    reason = nearest.cost.misses(budget)
    return f"no trained file meets the limits; the nearest is {nearest.name}: {reason}"
