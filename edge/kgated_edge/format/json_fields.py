"""Typed reading of parsed JSON: each defect becomes one sentence that names the field."""

import math
import reprlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from kgated_edge.errors import ManifestError

T = TypeVar("T")


class Fields:
    """A JSON object and its path in the document.

    Each method reads one key and raises `ManifestError` when it is absent or has another type.
    Unknown keys are ignored: a later version may add some without changing the format.
    """

    __slots__ = ("_items", "_where")

    def __init__(self, value: object, where: str = "") -> None:
        if not isinstance(value, dict):
            raise _wrong(where or "manifest", "an object", value)
        self._items = value
        self._where = where

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def text(self, key: str) -> str:
        """A string of at least one character."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "a non-empty string")
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        """One of the strings allowed."""
        value = self.text(key)
        if value not in allowed:
            raise self.wrong(key, " or ".join(map(repr, allowed)))
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._get(key)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def integer(self, key: str, minimum: int) -> int:
        """A whole number of at least `minimum`."""
        value = self._get(key)
        if type(value) is not int or value < minimum:
            raise self.wrong(key, f"a whole number of at least {minimum}")
        return value

    def finite(self, key: str) -> float:
        """A finite number."""
        value = self._get(key)
        if type(value) is int and abs(value) < 2**53:
            value = float(value)
        if type(value) is not float or not math.isfinite(value):
            raise self.wrong(key, "a finite number")
        return value

    def real(self, key: str) -> float:
        """A finite number, not negative."""
        value = self.finite(key)
        if value < 0:
            raise self.wrong(key, "a finite number, not negative")
        return value

    def positive(self, key: str) -> float:
        """A finite number above zero."""
        value = self.real(key)
        if value == 0:
            raise self.wrong(key, "above zero")
        return value

    def array(self, key: str) -> list[object]:
        """A JSON array."""
        value = self._get(key)
        if not isinstance(value, list):
            raise self.wrong(key, "an array")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings."""
        value = self.array(key)
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "an array of strings")
        return tuple(map(str, value))

    def integers(self, key: str, minimum: int) -> tuple[int, ...]:
        """An array of whole numbers of at least `minimum`, at most 2**31 - 1 each."""
        value = self.array(key)
        numbers = tuple(x for x in value if type(x) is int and minimum <= x < 2**31)
        if len(numbers) != len(value):
            raise self.wrong(key, f"an array of whole numbers of at least {minimum}")
        return numbers

    def reals(self, key: str) -> tuple[float, ...]:
        """An array of finite numbers, not negative."""
        value = self.array(key)
        numbers = Fields({str(n): item for n, item in enumerate(value)}, self.path(key))
        return tuple(numbers.real(n) for n in numbers)

    def finites(self, key: str) -> tuple[float, ...]:
        """An array of finite numbers."""
        value = self.array(key)
        numbers = Fields({str(n): item for n, item in enumerate(value)}, self.path(key))
        return tuple(numbers.finite(n) for n in numbers)

    def mapping(self, key: str) -> dict[str, object]:
        """A JSON object as a dict."""
        return self.nested(key)._items

    def nested(self, key: str) -> "Fields":
        """A JSON object, to read field by field."""
        return Fields(self._get(key), self.path(key))

    def optional(self, key: str, read: Callable[[str], T]) -> T | None:
        """`read(key)`, or None where the document has null."""
        return None if self._get(key) is None else read(key)

    def wrong(self, key: str, rule: str) -> ManifestError:
        """The error for a field that breaks a rule."""
        return _wrong(self.path(key), rule, self._items.get(key))

    @property
    def where(self) -> str:
        """The path of this object in the document; empty for the document itself."""
        return self._where

    def path(self, key: str) -> str:
        """The key with the path that leads to it, as in `golden.tolerance`."""
        return f"{self._where}.{key}" if self._where else key

    def _get(self, key: str) -> object:
        if key not in self._items:
            raise ManifestError(f"manifest field `{self.path(key)}` is missing: convert it again")
        return self._items[key]


def _wrong(where: str, rule: str, value: object) -> ManifestError:
    return ManifestError(
        f"manifest field `{where}` must be {rule}, got {reprlib.repr(value)}: convert it again"
    )
