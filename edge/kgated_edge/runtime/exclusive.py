"""Resources that one thread at a time may use."""

from collections.abc import Callable
from typing import Any, TypeVar

from kgated_edge.errors import EdgeError

R = TypeVar("R")


def exclusive(idle: list[Any], what: str, action: Callable[[], R]) -> R:
    """Calls a function while no other thread can use the resources; returns its result.

    A function and not a context manager: Python handles a signal, such as Ctrl-C, at the start of
    `__exit__`, and the resources would never be given back.

    Args:
        idle: the resources, empty while a thread uses them.
        what: is used, for the message.
        action: what to do.

    Raises:
        EdgeError: another thread uses them.
    """
    try:
        resources = idle[0]
        # Not `pop`: Python handles a signal after a call, and would lose what the call returned.
        del idle[0]
    except IndexError:
        raise busy(what) from None
    try:
        return action()
    finally:
        idle.append(resources)


def busy(what: str) -> EdgeError:
    """The error for a call during another thread's call."""
    return EdgeError(f"another thread uses this {what}: give each its own, by {what}.clone()")
