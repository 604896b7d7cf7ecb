"""The points of a model at which a device rounds, each with its grid."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keras import ops

from kgated.optimize.qat.grids import FIXED, Array, Grid, Scheme, matrix_grid, rounded
from kgated.optimize.qat.kernels import Adder, added, requantized
from kgated.steps import Points

BIAS_LIMIT = 2.0**31


@dataclass
class Call:
    """One call of a model: what its points round to, and what they saw.

    Attributes:
        scheme: which integers.
        learned: the grid of each point that has a learned range; None while they are found out.
        active: whether activations are rounded yet, () boolean.
        observing: whether the points note what they see.
        fixed: the grid of each point whose kernel fixes it, as they are met.
        met: the names of the other points, in the order in which they are met.
        seen: the least and the largest value at each point, negative and positive: (-least, most).
        rows: whether `seen` holds one figure per row (B,), and not one for all.
        adders: how the kernels add, by the name of the sum; empty until the sums are known.
        sums: the points that are added up at each point that is a sum, as they are met.
        steps: by point the exact steps (N,) of the products' sums that are rounded there.
    """

    scheme: Scheme
    learned: Mapping[str, Grid] | None
    active: Array
    observing: bool = False
    adders: Mapping[str, Adder] = field(default_factory=dict)
    sums: dict[str, tuple[str, str]] = field(default_factory=dict)
    steps: dict[str, Array] = field(default_factory=dict)
    fixed: dict[str, Grid] = field(default_factory=dict)
    met: dict[str, None] = field(default_factory=dict)
    seen: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    rows: bool = False

    def grid(self, name: str) -> Grid:
        """The grid of a point."""
        if name in self.fixed:
            return self.fixed[name]
        self.met[name] = None
        return self.scheme.tanh if self.learned is None else self.learned[name]

    def round(self, x: Array, grid: Grid, step: Array | None = None) -> Array:
        """X on a grid, once rounding has begun; a sum of products comes in steps of its own."""
        return ops.where(self.active, rounded(x, grid, step), x)

    def add(
        self, name: str, one: Array, other: Array, sign: int, grids: tuple[Grid, Grid, Grid]
    ) -> Array:
        """`one + sign · other`, each on its grid, on the third of them."""
        exact = one + sign * other
        if name not in self.adders:
            return self.round(exact, grids[2])
        return ops.where(self.active, added(one, other, sign, grids, self.adders[name]), exact)

    def requantize(self, x: Array, before: Grid | None, after: Grid) -> Array:
        """X on another grid."""
        if before is None or self.scheme.name != "int8":
            return self.round(x, after)
        return ops.where(self.active, requantized(x, before, after), x)

    def note(self, name: str, x: Array) -> None:
        """Take down the range of what a point sees."""
        x, axes = ops.stop_gradient(x), tuple(range(1, len(x.shape))) if self.rows else None
        found = ops.max(-x, axis=axes), ops.max(x, axis=axes)
        if name in self.seen:
            found = tuple(map(ops.maximum, self.seen[name], found))
        self.seen[name] = found

    @contextlib.contextmanager
    def row_by_row(self) -> Iterator[dict[str, tuple[Array, Array]]]:
        """What is seen inside, by row: a loop's body hands it on as a state."""
        outside, before = self.seen, self.rows
        self.seen, self.rows = {}, True
        try:
            yield self.seen
        finally:
            self.seen, self.rows = outside, before


class Rounding(Points):
    """Rounds each value as the device does that will run the model.

    Args:
        call: the call of the model that it is part of.
        prefix: what the names of its points start with.
        fixed: the grids that kernels fix, by the name of the point without prefix.
        operands: the grid of "x", and the point that "state" stands for, with its prefix.
    """

    def __init__(
        self,
        call: Call,
        prefix: str = "",
        fixed: Mapping[str, Grid] | None = None,
        operands: Mapping[str, Grid | str | None] | None = None,
    ) -> None:
        self.call, self.prefix = call, prefix
        self.fixed, self.operands = fixed or {}, operands or {}

    def __call__(self, name: str, value: Array) -> Array:
        """The value on the point's grid."""
        self._note(name, value)
        return self.call.round(value, self.grid(name), self.call.steps.get(self.prefix + name))

    def grid(self, name: str) -> Grid:
        """The grid of a point."""
        full = self.prefix + name
        if name in self.fixed:
            self.call.fixed[full] = self.fixed[name]
            return self.fixed[name]
        return self.call.grid(full)

    def part(self, name: str, state: str) -> "Rounding":
        """The points of a product of x and `state`; none of its grids is fixed."""
        operands = {**self.operands, "state": self.prefix + state}
        return Rounding(self.call, f"{self.prefix}{name}/", operands=operands)

    def sum(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As the integer kernel adds."""
        return self._added(name, one, other, of, 1)

    def difference(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As the integer kernel subtracts."""
        return self._added(name, one, other, of, -1)

    def joined(self, name: str, values: list[tuple[Array, Grid | None]], axis: int) -> Array:
        """Values side by side, those of other grids brought to that of the point."""
        self._note(name, ops.concatenate([x for x, _ in values], axis))
        grid = self.grid(name)
        return ops.concatenate([self.call.requantize(x, one, grid) for x, one in values], axis)

    def weights(
        self, name: str, W: Array, b: Array | None = None, operand: str = "x"
    ) -> tuple[Array, Array | None]:
        """W in int8, symmetric, a scale per output; b in steps of the sums of the products."""
        grid = matrix_grid(W)
        step = self._operand(operand).scale * grid.scale
        self.call.steps[self.prefix + name] = step
        if b is not None:
            b = self.call.round(_value(b), Grid(step, -BIAS_LIMIT, BIAS_LIMIT))
        return rounded(_value(W), grid), b

    def vector(self, v: Array) -> Array:
        """As an activation of the range that the weights have."""
        still = ops.stop_gradient(v)
        return rounded(_value(v), self.call.scheme.grid(ops.min(still), ops.max(still)))

    def _operand(self, name: str) -> Grid:
        found = self.operands.get(name, self.prefix + name)
        assert found is not None, "a product has an operand that is rounded"
        return self.call.grid(found) if isinstance(found, str) else found

    def _note(self, name: str, value: Array) -> None:
        if self.call.observing and name not in self.fixed:
            self.call.note(self.prefix + name, value)

    def _added(self, name: str, one: Array, other: Array, of: tuple[str, str], sign: int) -> Array:
        self._note(name, one + sign * other)
        grids = self.grid(of[0]), self.grid(of[1]), self.grid(name)
        self.call.sums[self.prefix + name] = self.prefix + of[0], self.prefix + of[1]
        return self.call.add(self.prefix + name, one, other, sign, grids)


def _value(weight: Array) -> Array:
    """A tensor, also of a variable: TensorFlow's own gradients take no variables."""
    return weight * 1.0


def fixed_by(scheme: Scheme, function: str) -> Grid | None:
    """The grid that the kernel of an activation fixes for its result; None where it fixes none."""
    return getattr(scheme, FIXED[function]) if function in FIXED else None
