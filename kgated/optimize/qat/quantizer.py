"""Fake quantization at the points of a model, and the values between its layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.optimize.qat import int8_arithmetic
from kgated.optimize.qat.elementwise import function_name, has_table, is_included, slope_of
from kgated.optimize.qat.fake_quant import Array, QuantParams, fake_quantize
from kgated.optimize.qat.forward import ForwardState, Observer, cast_params, tensor_of
from kgated.optimize.qat.int16_arithmetic import AccumulatorScale
from kgated.optimize.qat.prepare import unsupported
from kgated.quantization_hook import QuantizationHook
from kgated.steps import Function

INPUT = "input"  # the point of an input is called `input/name`
SUM = "sum"  # the point before an activation that is an operator of its own


class FakeQuantizer(QuantizationHook):
    """Rounds each value as the device does.

    Args:
        state: of the forward pass.
        observer: receives what happens at the points.
        prefix: of the names of the points.
        fixed: the parameters that kernels fix, by the name of the point without prefix.
        operands: the parameters of "x", and the full name of the point that "state" stands for.
    """

    def __init__(
        self,
        state: ForwardState,
        observer: Observer,
        prefix: str = "",
        fixed: Mapping[str, QuantParams] | None = None,
        operands: Mapping[str, QuantParams | str | None] | None = None,
    ) -> None:
        self.state, self.observer, self.prefix = state, observer, prefix
        self.fixed, self.operands = fixed or {}, operands or {}
        # By point, of the products whose weights were quantized by this object.
        self._accumulators: dict[str, AccumulatorScale] = {}

    def __call__(self, name: str, value: Array) -> Array:
        """Round a value to the parameters of the point."""
        return self.quantize(name, value, self._accumulators.get(name))

    def quantize(
        self, name: str, value: Array, accumulator: AccumulatorScale | None = None
    ) -> Array:
        """Round a value that is a multiple of the accumulator's scale."""
        self.observer.observe(self.prefix + name, value)
        return self.state.round(value, self.params(name), accumulator)

    def params(self, name: str) -> QuantParams:
        """The parameters of a point."""
        return self._lookup(self.prefix + name, self.fixed.get(name))

    def nested(self, name: str, state: str) -> "FakeQuantizer":
        """The hook for a product of x and `state`; none of its parameters is fixed."""
        operands = {**self.operands, "state": self.prefix + state}
        prefix = f"{self.prefix}{name}/"
        return FakeQuantizer(self.state, self.observer, prefix, operands=operands)

    def function(self, name: str, f: Function, x: Array, of: str) -> Array:
        """Compute and round a function as its kernel does."""
        return self(name, self.state.function(f, x, self.params(of)))

    def product(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """Multiply and round as the kernel of MUL does."""
        accumulator = None
        if self.state.is_exact:
            scale = self.params(of[0]).scale * self.params(of[1]).scale
            accumulator = AccumulatorScale(scale, "elementwise")
        return self.quantize(name, x * y, accumulator)

    def sum(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """Add and round as the kernel of ADD does."""
        return self._add(name, x, y, of, 1)

    def difference(self, name: str, x: Array, y: Array, of: tuple[str, str]) -> Array:
        """Subtract and round as the kernel of SUB does."""
        return self._add(name, x, y, of, -1)

    def subtract_weights(self, name: str, x: Array, params: QuantParams, v: Array) -> Array:
        """`x - v` for values x with `params` and weights v."""
        weights = self.constant(v)
        self.observer.observe(self.prefix + name, x - weights)
        triple = params, self.constant_params(v), self.params(name)
        return self.state.add(self.prefix + name, x, weights, -1, triple)

    def concatenate(
        self, name: str, values: list[tuple[Array, QuantParams | None]], axis: int
    ) -> Array:
        """Concatenate values, requantized to the parameters of the point."""
        self.observer.observe(self.prefix + name, ops.concatenate([x for x, _ in values], axis))
        after = self.params(name)
        parts = [self.state.requantize(x, before, after) for x, before in values]
        return ops.concatenate(parts, axis)

    def weights(
        self, name: str, W: Array, b: Array | None = None, operand: str = "x"
    ) -> tuple[Array, Array | None]:
        """Quantize W and b; the product is rounded at the point `name` of this object."""
        W, b, self._accumulators[name] = self.state.quantize_weights(W, b, self._operand(operand))
        return W, b

    def vector(self, name: str, v: Array, operand: str) -> Array:
        """Quantize v as an activation with the range of the weights."""
        if self.state.is_exact:
            scale = self._operand(operand).scale * self.constant_params(v).scale
            self._accumulators[name] = AccumulatorScale(scale, "elementwise")
        return self.constant(v)

    def constant_params(self, v: Array) -> QuantParams:
        """The parameters of weights of an elementwise operator, of any shape."""
        return self.state.cast(self.state.scheme.params_of(v))

    def constant(self, v: Array) -> Array:
        """Quantize weights to the parameters of their own range."""
        params = self.state.scheme.params_of(v)
        return self.state.snap(fake_quantize(tensor_of(v), params), params)

    def _lookup(self, full_name: str, fixed: QuantParams | None = None) -> QuantParams:
        self.observer.visit(full_name, fixed)
        return self.state.params[full_name]

    def _operand(self, name: str) -> QuantParams:
        operand = self.operands.get(name, self.prefix + name)
        assert operand is not None, "an operand of a product is rounded"
        return self._lookup(operand) if isinstance(operand, str) else operand

    def _add(self, name: str, x: Array, y: Array, of: tuple[str, str], sign: int) -> Array:
        full_name = self.prefix + name
        self.observer.observe(full_name, x + sign * y)
        params = self.params(of[0]), self.params(of[1]), self.params(name)
        self.observer.add(full_name, (self.prefix + of[0], self.prefix + of[1]))
        return self.state.add(full_name, x, y, sign, params)


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, with its quantization parameters.

    Attributes:
        x: the tensor.
        params: None where the tensor is not rounded: its operator includes the next layer.
        point: the name of the point that rounded it, if one did.
        accumulator: of a sum of products that is not rounded yet.
    """

    x: Array
    params: QuantParams | None
    point: str | None = None
    accumulator: AccumulatorScale | None = None


@dataclass(frozen=True)
class UnfusedProduct:
    """A layer that the BatchNormalization after it will compute, with its input."""

    layer: keras.Layer
    input: Value


@dataclass(frozen=True)
class Context:
    """One forward pass, as the layers see it.

    Attributes:
        state: what values are rounded to.
        observer: receives what happens at the points.
        fused: the names of layers whose operator includes the next layer.
    """

    state: ForwardState
    observer: Observer
    fused: frozenset[str]

    def quantizer(
        self, prefix: str = "", fixed: Mapping[str, QuantParams] | None = None, **operands: Any
    ) -> FakeQuantizer:
        """The hook for points whose names start with `prefix`."""
        return FakeQuantizer(self.state, self.observer, prefix, fixed, operands)

    def input(self, name: str, x: Any) -> Value:
        """An input of the model, float32, by the name of the input."""
        x, point = ops.convert_to_tensor(x), f"{INPUT}/{name}"
        if self.state.is_exact:  # the device rounds it in float32
            single = cast_params(self.quantizer().params(point), "float32")
            rounded = self.state.snap(fake_quantize(x, single), single)
            x = ops.where(self.state.active, rounded, x)
        return self.point(point, ops.cast(x, self.state.dtype))

    def point(
        self,
        name: str,
        x: Array,
        fixed: QuantParams | None = None,
        accumulator: AccumulatorScale | None = None,
    ) -> Value:
        """A value, rounded at a point."""
        quantizer = self.quantizer(fixed={name: fixed} if fixed else None)
        y = quantizer.quantize(name, x, accumulator)
        return Value(y, quantizer.params(name), name)

    def result(
        self, layer: keras.Layer, x: Array, accumulator: AccumulatorScale | None = None
    ) -> Value:
        """A layer's result, rounded unless the layer is fused with the next."""
        if layer.name in self.fused:
            return Value(x, None, accumulator=accumulator)
        return self.point(layer.name, x, accumulator=accumulator)

    def subtract(self, name: str, a: Value, b: Value) -> Value:
        """`a - b`, rounded at a point."""
        if not (a.point and b.point):
            return self.point(name, a.x - b.x)
        quantizer = self.quantizer()
        y = quantizer.difference(name, a.x, b.x, (a.point, b.point))
        return Value(y, quantizer.params(name), name)

    def subtract_weights(self, name: str, v: Value, weights: Array) -> Value:
        """`v - weights`, rounded at a point."""
        assert v.params is not None, "the operand is rounded"
        quantizer = self.quantizer()
        y = quantizer.subtract_weights(name, v.x, v.params, weights)
        return Value(y, quantizer.params(name), name)

    def multiply(self, name: str, a: Value, b: Value) -> Value:
        """`a∘b`, rounded at a point."""
        if not (a.point and b.point):
            return self.point(name, a.x * b.x)
        quantizer = self.quantizer()
        y = quantizer.product(name, a.x, b.x, (a.point, b.point))
        return Value(y, quantizer.params(name), name)

    def multiply_weights(self, name: str, v: Value, weights: Array) -> Value:
        """`v∘weights`, rounded at a point."""
        quantizer = self.quantizer()
        y = quantizer(name, v.x * quantizer.vector(name, weights, operand=v.point or name))
        return Value(y, quantizer.params(name), name)

    def activated(self, layer: keras.Layer, v: Value, function: Any) -> Value:
        """The result of a layer that ends in an activation."""
        name = function_name(function)
        if is_included(function):
            return self.result(layer, function(v.x), v.accumulator)
        if name == "leaky_relu":
            return self.leaky_relu(layer, v, slope_of(function))
        fixed = self.state.scheme.fixed_params(name)
        if fixed is not None:
            return self.point(layer.name, self.state.function(function, v.x, v.params), fixed)
        if not has_table(function):
            raise unsupported(layer, f"its activation is {name}, which has no integer counterpart")
        single = ops.cast(v.x, "float32")  # the table is computed in float32
        return self.point(layer.name, ops.cast(function(single), self.state.dtype))

    def leaky_relu(self, layer: keras.Layer, v: Value, slope: float) -> Value:
        """Compute and round as the kernel of LEAKY_RELU does."""
        assert v.params is not None, "the operand is rounded"
        y, point = ops.where(v.x >= 0, v.x, slope * v.x), self.quantizer().params(layer.name)
        if self.state.is_exact:
            scale = ops.where(v.x >= 0, v.params.scale, slope * v.params.scale)
            return self.point(layer.name, y, accumulator=AccumulatorScale(scale, "elementwise"))
        if self.state.scheme.name == "int8":
            on_device = int8_arithmetic.leaky_relu(v.x, slope, v.params, point)
            y = y + ops.stop_gradient(ops.where(self.state.active, on_device - y, 0.0))
        return self.point(layer.name, y)

    def call_layer(self, layer: keras.Layer, x: Array, **options: Any) -> Array:
        """The result of the layer itself, computed in float32."""
        return ops.cast(layer(x, **options), self.state.dtype)


def unwrap(value: Any) -> Any:
    """A value without its parameters."""
    return value.x if isinstance(value, Value) else value
