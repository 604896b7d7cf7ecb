"""The points of a model at which a device rounds, each with its grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.optimize.qat.fake_quant import FIXED, Array, Grid, Scheme, matrix_grid, rounded
from kgated.optimize.qat.forward import Call
from kgated.optimize.qat.int16_arithmetic import Unit
from kgated.steps import Function, QuantizationHook

INPUT = "input"  # the point of an input is called `input/name`


SUM = "sum"  # the point before an activation that is an operator of its own


class Rounding(QuantizationHook):
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
        return self.call.round(value, self.grid(name), self.call.units.get(self.prefix + name))

    def function(self, name: str, f: Function, x: Array, of: str) -> Array:
        """As the kernel of the function does it."""
        return self(name, self.call.function(f, x, self.grid(of)))

    def product(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As the kernel multiplies."""
        if self.call.is_exact:
            self._is_product(name, self.grid(of[0]), self.grid(of[1]))
        return self(name, one * other)

    def grid(self, name: str) -> Grid:
        """The grid of a point."""
        full = self.prefix + name
        if name in self.fixed:
            self.call.fixed[full] = self.fixed[name]
            return self.fixed[name]
        return self.call.grid(full)

    def nested(self, name: str, state: str) -> "Rounding":
        """The points of a product of x and `state`; none of its grids is fixed."""
        operands = {**self.operands, "state": self.prefix + state}
        return Rounding(self.call, f"{self.prefix}{name}/", operands=operands)

    def sum(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As the integer kernel adds."""
        return self._added(name, one, other, of, 1)

    def difference(self, name: str, one: Array, other: Array, of: tuple[str, str]) -> Array:
        """As the integer kernel subtracts."""
        return self._added(name, one, other, of, -1)

    def offset(self, name: str, one: Array, grid: Grid, v: Array) -> Array:
        """`one - v` of values on a grid, and weights that meet them one by one."""
        other = self.constant(v)
        self._note(name, one - other)
        grids = grid, self.grid_of(v), self.grid(name)
        return self.call.add(self.prefix + name, one, other, -1, grids)

    def joined(self, name: str, values: list[tuple[Array, Grid | None]], axis: int) -> Array:
        """Values side by side, those of other grids brought to that of the point."""
        self._note(name, ops.concatenate([x for x, _ in values], axis))
        grid = self.grid(name)
        return ops.concatenate([self.call.requantize(x, one, grid) for x, one in values], axis)

    def weights(
        self,
        name: str,
        W: Array,
        b: Array | None = None,
        operand: str = "x",
        kernel: str | None = None,
    ) -> tuple[Array, Array | None]:
        """W in int8, symmetric, a scale per output; b in steps of the sums of the products.

        `kernel` is one of `kernels16`, where the layer is not one of whole rows of products.
        """
        grid = matrix_grid(W)
        size = self._operand(operand).scale * self.call.typed(grid).scale
        self.call.units[self.prefix + name] = Unit(size, kernel or ("bare" if b is None else "sum"))
        if b is not None:
            b = self.call.bias(_value(b), size)
        return self.call.widened(rounded(_value(W), grid), grid), b

    def vector(self, name: str, v: Array, operand: str) -> Array:
        """As an activation of the range that the weights have."""
        if self.call.is_exact:
            self._is_product(name, self._operand(operand), self.grid_of(v))
        return self.constant(v)

    def grid_of(self, v: Array) -> Grid:
        """The grid of weights that meet values one by one, of any shape."""
        return self.call.typed(self.call.scheme.range_of(v))

    def constant(self, v: Array) -> Array:
        """Weights on the grid of their own range."""
        grid = self.call.scheme.range_of(v)
        return self.call.widened(rounded(_value(v), grid), grid)

    def _operand(self, name: str) -> Grid:
        found = self.operands.get(name, self.prefix + name)
        assert found is not None, "a product has an operand that is rounded"
        return self.call.grid(found) if isinstance(found, str) else found

    def _is_product(self, name: str, one: Grid, other: Grid) -> None:
        self.call.units[self.prefix + name] = Unit(one.scale * other.scale, "product")

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


@dataclass
class Value:
    """A tensor on its way through the graph, and the grid that it is on.

    Attributes:
        x: the tensor; None for products that the BatchNormalization after them completes.
        grid: None where the tensor is not rounded: the operator goes on with the next layer.
        point: the name of the point that rounded it, where it was one.
        pending: the layer of those products, and what it multiplies.
    """

    x: Array
    grid: Grid | None
    point: str | None = None
    pending: "tuple[keras.Layer, Value] | None" = None


@dataclass
class Context:
    """One call of a model, as its layers see it.

    Attributes:
        call: what the points round to.
        joined: names of layers whose operator goes on with the next layer.
        frozen: whether batch normalization stays as it is, () boolean.
        training: whether the call trains.
    """

    call: Call
    joined: frozenset[str]
    frozen: Array
    training: bool

    def input(self, name: str, x: Any) -> Value:
        """What goes into the model, float32, by the name of the input."""
        x, point = ops.convert_to_tensor(x), f"{INPUT}/{name}"
        if self.call.is_exact:  # the device rounds it in float32
            single = Grid(*(ops.cast(part, "float32") for part in self.call.grid(point)))
            x = ops.where(self.call.active, self.call.widened(rounded(x, single), single), x)
        return self.point(point, ops.cast(x, self.call.dtype))

    def point(self, name: str, x: Array, fixed: Grid | None = None) -> Value:
        """A value that a device rounds."""
        at = Rounding(self.call, fixed={name: self.call.typed(fixed)} if fixed else {})
        return Value(at(name, x), at.grid(name), name)

    def result(self, layer: keras.Layer, x: Array) -> Value:
        """A layer's result, which is rounded unless its operator goes on."""
        return Value(x, None) if layer.name in self.joined else self.point(layer.name, x)

    def activated(self, layer: keras.Layer, v: Value, function: Any) -> Value:
        """The result of a layer that ends in an activation."""
        name = getattr(function, "__name__", "")
        if name in ("linear", "relu"):  # the second is a part of integer operators
            return self.result(layer, function(v.x))
        fixed = fixed_by(self.call.scheme, name)
        if fixed is None:
            raise unsupported(
                layer, f"its activation is {name}, not linear, relu, tanh, sigmoid or softmax"
            )
        return self.point(layer.name, self.call.function(function, v.x, v.grid), fixed)

    def called(self, layer: keras.Layer, x: Array, **options: Any) -> Array:
        """What the layer itself computes, which it does in float32."""
        return ops.cast(layer(x, **options), self.call.dtype)


def plain(value: Any) -> Any:
    """A value without its grid."""
    return value.x if isinstance(value, Value) else value


def unsupported(layer: Any, reason: str) -> ValueError:
    """The error for a layer that has no integer counterpart here."""
    return ValueError(
        f"`model` has layer `{layer.name}` ({type(layer).__name__}), which can't be trained in "
        f"integers: {reason}. Change the layer, or quantize after training with `calibration`"
    )
