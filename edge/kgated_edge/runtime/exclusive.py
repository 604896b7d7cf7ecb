"""Resources that one thread at a time may use."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from kgated_edge.errors import EdgeError

R = TypeVar("R")


@contextmanager
def exclusive(idle: list[R], what: str) -> Iterator[R]:
    """Takes the resources that one thread at a time may use; `EdgeError` where another does."""
    try:
        resources = idle.pop()
    except IndexError:
        raise busy(what) from None
    try:
        yield resources
    finally:
        idle.append(resources)


def busy(what: str) -> EdgeError:
    """The error for a call during another thread's call."""
    return EdgeError(f"another thread uses this {what}: give each its own, by {what}.clone()")
