"""Sums of integers to the integers of the result."""

from collections.abc import Iterator

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Operator


def requantized(
    code: Code, operator: Operator, places: tuple[str, str, str], n: int
) -> Iterator[str]:
    """The lines that turn sums into the result."""
    raise operator.refused(f"its type is {operator.output.dtype}")
