"""The best thresholds of all classes together, for each number of false accepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from kgated.tuning.operating_points import Point

Choice = tuple[int, float, tuple[float, ...]]
"""(misses, sum of the delays, `on` of each class)."""


@dataclass(frozen=True)
class Curve:
    """The trade-off of one kind of smoothing.

    Attributes:
        smoothing, smoothing_s: as in `EventSettings`.
        choices: for 0, 1, … false accepts the best choice with at most so many.
    """

    smoothing: str
    smoothing_s: float
    choices: tuple[Choice, ...]


def best_choices(points: Sequence[Sequence[Point]], max_false_accepts: int) -> tuple[Choice, ...]:
    """The thresholds with the fewest misses, for each number of false accepts.

    Exact, as long as each class is detected independently of the others: a class's false accepts
    and misses add to those of the others, so the best choices of the first k classes for each
    number of false accepts give those of the first k + 1.

    Args:
        points: of each class.
        max_false_accepts: the largest number.

    Returns:
        the choice for 0, 1, …, max_false_accepts; fewer misses first, then a shorter delay.
    """
    best: list[Choice] = [(0, 0.0, ())] * (max_false_accepts + 1)
    for candidates in map(plateaus, points):
        best = [
            min(
                _with_point(best[allowed - point.false_accepts], point)
                for point in candidates
                if point.false_accepts <= allowed
            )
            for allowed in range(max_false_accepts + 1)
        ]
    return tuple(best)


def best_curve(curves: Sequence[Curve], budget: int, max_misses: int) -> tuple[int, Choice]:
    """The kind of smoothing and the thresholds to use.

    Args:
        curves: of each kind of smoothing.
        budget: false accepts that are allowed.
        max_misses: where a choice has no more misses than this, the first such with the fewest
            false accepts is taken; else the fewest misses within the budget.

    Returns:
        the index of the curve, and the choice.
    """
    for allowed in range(budget + 1):
        best = min(range(len(curves)), key=lambda n: curves[n].choices[allowed][:2])
        choice = curves[best].choices[allowed]
        if choice[0] <= max_misses:
            break
    return best, choice


def plateaus(points: Sequence[Point]) -> list[Point]:
    """One point for each run of thresholds with equal counts: the middle one.

    It has a margin to both sides, which a threshold at the edge of its plateau lacks.
    """
    groups = groupby(points, key=lambda point: (point.false_accepts, point.misses))
    middles = []
    for _, members in groups:
        group = list(members)
        middles.append(group[len(group) // 2])
    return middles


def _with_point(choice: Choice, point: Point) -> Choice:
    misses, delay_s, levels = choice
    return misses + point.misses, delay_s + point.delay_s, (*levels, point.on)
