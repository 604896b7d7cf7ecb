"""One call of a quantization-aware model: what its points round to, and what they saw."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keras import ops

from kgated.optimize.qat import int16_arithmetic
from kgated.optimize.qat.activation_tables import KERNELS, on_curve
from kgated.optimize.qat.fake_quant import Array, Grid, Scheme, rounded
from kgated.optimize.qat.int8_arithmetic import Adder, added, requantized
from kgated.optimize.qat.int16_arithmetic import Unit
from kgated.steps import Function

BIAS_LIMIT = 2.0**31


@dataclass
class Call:
    """What happens to the values at the points of a model.

    Attributes:
        scheme: which integers.
        learned: the grid of each point that has a learned range; None while they are found out.
        active: whether activations are rounded yet, () boolean.
        observing: whether the points note what they see.
        dtype: of the values between points: "float64" where each is rounded as by `kernels16`.
        fixed: the grid of each point whose kernel fixes it, as they are met.
        met: the names of the other points, in the order in which they are met.
        seen: the least and the largest value at each point, negative and positive: (-least, most).
        rows: whether `seen` holds one figure per row (B,), and not one for all.
        adders: how the kernels of int8 add, by the name of the sum; empty until they are known.
        sums: the points that are added up at each point that is a sum, as they are met.
        units: by point what a sum of products that is rounded there is a whole number of.
    """

    scheme: Scheme
    learned: Mapping[str, Grid] | None
    active: Array
    observing: bool = False
    dtype: str = "float32"
    adders: Mapping[str, Adder] = field(default_factory=dict)
    sums: dict[str, tuple[str, str]] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    fixed: dict[str, Grid] = field(default_factory=dict)
    met: dict[str, None] = field(default_factory=dict)
    seen: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    rows: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether values are rounded as by `kernels16`."""
        return self.dtype == int16_arithmetic.EXACT

    def grid(self, name: str) -> Grid:
        """The grid of a point."""
        if name in self.fixed:
            return self.fixed[name]
        self.met[name] = None
        return self.scheme.tanh if self.learned is None else self.learned[name]

    def typed(self, grid: Grid) -> Grid:
        """The grid for values of the call's dtype."""
        return Grid(*(ops.cast(part, self.dtype) for part in grid)) if self.is_exact else grid

    def widened(self, x: Array, grid: Grid) -> Array:
        """Float32 numbers on a grid in the call's dtype, without what float32 lost of each."""
        if not self.is_exact:
            return x
        grid = self.typed(grid)
        return ops.round(ops.cast(x, self.dtype) / grid.scale) * grid.scale

    def bias(self, b: Array, size: Array) -> Array:
        """A bias in the units of the sum that it is a part of."""
        if not self.is_exact:
            return self.round(b, Grid(size, -BIAS_LIMIT, BIAS_LIMIT))
        # The quantizer divides in float32; the result may have more bits than a float32.
        return ops.cast(ops.round(b / ops.cast(size, "float32")), self.dtype) * size

    def round(self, x: Array, grid: Grid, unit: Unit | None = None) -> Array:
        """X on a grid, once rounding has begun; a sum of products comes in units of its own."""
        if unit is not None and self.is_exact:
            on_grid = int16_arithmetic.requantized(x, unit, grid)
        else:
            on_grid = rounded(x, grid, unit.size if unit else None)
        return ops.where(self.active, on_grid, x)

    def function(self, f: Function, x: Array, grid: Grid | None) -> Array:
        """`f(x)` of values on a grid; in results as the kernel computes it, the gradient f's."""
        y, name = f(x), getattr(f, "__name__", "")
        in_table = self.scheme.name == "int16x8" and name in KERNELS
        if self.observing or grid is None or not in_table:
            return y
        on_device = ops.cast(on_curve(name, x, grid.scale), self.dtype)
        return y + ops.stop_gradient(ops.where(self.active, on_device - y, 0.0))

    def add(
        self, name: str, one: Array, other: Array, sign: int, grids: tuple[Grid, Grid, Grid]
    ) -> Array:
        """`one + sign · other`, each on its grid, on the third of them."""
        exact = one + sign * other
        if self.is_exact:
            on_grid = int16_arithmetic.added(one, other, sign, grids)
        elif name in self.adders:
            on_grid = added(one, other, sign, grids, self.adders[name])
        else:
            return self.round(exact, grids[2])
        return ops.where(self.active, on_grid, exact)

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
