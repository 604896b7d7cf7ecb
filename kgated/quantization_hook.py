"""The hook for each value of a step that a device rounds."""

from collections.abc import Callable
from typing import Any

Array = Any
Function = Callable[..., Array]


class QuantizationHook:
    """The interface of hooks at the quantization points of a step; this class does nothing.

    A subclass rounds the values as a device does, or marks them for a converter.
    """

    def __call__(self, name: str, value: Array) -> Array:
        """Return what replaces `value`, the value at the point `name`."""
        return value

    def nested(self, name: str, state: str) -> "QuantizationHook":
        """The hook for a product of x and the value at the point `state`.

        The names of its points start with `name/`.
        """
        return self

    def function(self, name: str, f: Function, x: Array, of: str) -> Array:
        """`f(x)` at the point `name`; x is the value at the point `of`."""
        return self(name, f(x))

    def product(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """`x∘y` at the point `name`; x and y are the values at the points `of`."""
        return self(name, x * y)

    def sum(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """`x + y` at the point `name`; x and y are the values at the points `of`."""
        return self(name, x + y)

    def difference(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """`x - y` at the point `name`; x and y are the values at the points `of`."""
        return self(name, x - y)

    def weights(
        self, name: str, W: Array, b: Array | None = None, operand: str = "x"
    ) -> tuple[Array, Array | None]:
        """Return what replaces W and b in the matrix product whose result is the point `name`.

        The last axis of W is that of the outputs. `operand`, what W is multiplied by, is "x",
        "state" or a point.
        """
        return W, b

    def vector(self, name: str, v: Array, operand: str) -> Array:
        """Return what replaces v in the elementwise product with the value at `operand`."""
        return v
