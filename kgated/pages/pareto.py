"""The Pareto front of results with a cost and a value."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


def pareto_front(
    results: Sequence[Result], cost: Callable[[Result], float], value: Callable[[Result], float]
) -> list[Result]:
    """The results that no other one beats: cheaper and at least as good, or the reverse.

    Args:
        results: in any order.
        cost: of a result; lower is better.
        value: of a result; higher is better.

    Returns:
        The front in ascending order of cost; of equal results the first.
    """
    front: list[Result] = []
    for result in sorted(results, key=lambda r: (cost(r), -value(r))):
        if not front or value(result) > value(front[-1]):
            front.append(result)
    return front
