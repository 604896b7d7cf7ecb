"""Values on their way through a model's layers, each with the grid that it is on."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.optimize.qat.fake_quant import Array, Grid, rounded
from kgated.optimize.qat.forward import Call
from kgated.optimize.qat.quantizer import Rounding, fixed_by

INPUT = "input"  # the point of an input is called `input/name`
SUM = "sum"  # the point before an activation that is an operator of its own


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
