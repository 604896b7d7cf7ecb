"""Schedules of pruning.

A schedule is a function from a training step to (whether to prune, sparsity from 0 to below 1).
Both classes have the names, arguments and values of those of tensorflow-model-optimization, and
objects of that package may be used instead.

Reference: Zhu & Gupta 2017, "To prune, or not to prune", equation 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kgated.argument_checks import as_number, check_integer

Schedule = Callable[[int], tuple[Any, Any]]


@dataclass(frozen=True)
class ConstantSparsity:
    """Constant sparsity from `begin_step` on; the pruned weights are chosen again periodically.

    Args:
        target_sparsity: the fraction of zeros, from 0 to below 1.
        begin_step: the first step that prunes, from 0.
        end_step: the last step that may choose the pruned weights again; -1: no last step.
        frequency: the number of steps from one choice to the next.

    Raises:
        ValueError: the sparsity is out of range, `end_step` precedes `begin_step`, or `frequency`
            is below 1.
    """

    target_sparsity: float
    begin_step: int
    end_step: int = -1
    frequency: int = 100

    def __post_init__(self) -> None:
        _check_sparsity("target_sparsity", self.target_sparsity)
        _check_steps(self.begin_step, self.frequency)
        if self.end_step != -1:
            check_integer("end_step", self.end_step, self.begin_step)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Whether to prune at this step, and the share of zeros."""
        return _is_due(self, step), self.target_sparsity


@dataclass(frozen=True)
class PolynomialDecay:
    """Sparsity that grows fast at first and slowly towards the end.

    Equation, at step t from `begin_step` b to `end_step` e::

        s(t) = s_final + (s_initial - s_final) · (1 - (t - b) / (e - b))^power

    Args:
        initial_sparsity, final_sparsity: fractions of zeros, from 0 to below 1.
        begin_step, end_step: the first and the last step that prune.
        power: the polynomial's exponent.
        frequency: the number of steps from one choice of pruned weights to the next. If it divides
            `end_step - begin_step`, the last choice is at `end_step` and reaches `final_sparsity`.

    Raises:
        ValueError: a sparsity is out of range, `end_step` is not after `begin_step`, or `frequency`
            is below 1.
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float = 3
    frequency: int = 100

    def __post_init__(self) -> None:
        _check_sparsity("initial_sparsity", self.initial_sparsity)
        _check_sparsity("final_sparsity", self.final_sparsity)
        _check_steps(self.begin_step, self.frequency)
        check_integer("end_step", self.end_step, self.begin_step + 1)
        as_number("power", self.power)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Whether to prune at this step, and the share of zeros."""
        done = (step - self.begin_step) / (self.end_step - self.begin_step)
        remaining = 1.0 - min(1.0, max(0.0, done))
        change = self.initial_sparsity - self.final_sparsity
        return _is_due(self, step), self.final_sparsity + change * remaining**self.power


def _is_due(schedule: ConstantSparsity | PolynomialDecay, step: int) -> bool:
    begin, end = schedule.begin_step, schedule.end_step
    inside = begin <= step and (end < 0 or step <= end)
    return inside and (step - begin) % schedule.frequency == 0


def _check_sparsity(argument: str, value: float) -> None:
    if not 0.0 <= as_number(argument, value) < 1.0:
        raise ValueError(f"`{argument}` must be from 0 to below 1. Received: {value!r}")


def _check_steps(begin: int, frequency: int) -> None:
    check_integer("begin_step", begin, 0)
    check_integer("frequency", frequency, 1)
