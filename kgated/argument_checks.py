"""Checks of arguments: each error names the argument, the rule, and what was received."""

import os
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any


def as_path(name: str, value: Any) -> Path:
    """A path that the system can take.

    Args:
        name: of the argument.
        value: a string, or an object with a path of text.

    Raises:
        TypeError: neither, or a path of bytes.
        ValueError: an empty text, or one with a zero byte.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise TypeError(f"`{name}` must be the path of a file, text or Path. Received: {value!r}")
    text = os.fspath(value)
    if not text or "\0" in text:
        raise ValueError(f"`{name}` must name a file, without zero bytes. Received: {text!r}")
    return Path(text)


def as_names(name: str, values: Any) -> tuple[str, ...]:
    """Texts in a sequence; a single text is none.

    Args:
        name: of the argument.
        values: a list, a tuple, an array or another iterable of texts.

    Raises:
        TypeError: no iterable, or one of other things.
    """
    is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes)
    texts = tuple(values) if is_list else (values,)
    if not is_list or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"`{name}` must be a list of texts, such as ['a']. Received: {values!r}")
    return tuple(str(text) for text in texts)


def as_number(name: str, value: Any) -> float:
    """A real number of any library as a float.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number. Received: {value!r}")
    return float(value)


def check_integer(name: str, value: Any, minimum: int) -> None:
    """Refuse what is no whole number from a minimum; `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(f"`{name}` must be an integer of at least {minimum}. Received: {value!r}")


def check_choice(name: str, value: Any, known: Iterable[Any]) -> None:
    """Refuse what is none of the values known, also where it can't be one; `ValueError`."""
    choices = list(known)
    # An array compares with each of them by element.
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise ValueError(f"`{name}` must be one of {choices}. Received: {value!r}")
