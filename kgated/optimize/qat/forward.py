"""The state of one forward pass of a quantization-aware model, and the observers of the pass.

The state is complete before the pass, and the pass does not change it. An `Observer` receives the
observed values: ranges in training, the names of the points when the model is built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keras import ops

from kgated.optimize.qat import int8_arithmetic, int16_arithmetic
from kgated.optimize.qat.activation_tables import KERNELS, lookup
from kgated.optimize.qat.fake_quant import (
    Array,
    QuantParams,
    Scheme,
    fake_quantize,
    weight_params,
)
from kgated.optimize.qat.int8_arithmetic import RescaleMultipliers
from kgated.optimize.qat.int16_arithmetic import AccumulatorScale
from kgated.steps import Function

BIAS_LIMIT = 2.0**31
Maxima = tuple[Array, Array]  # of -x and of x


@dataclass(frozen=True)
class ForwardState:
    """The quantization of one forward pass.

    Attributes:
        scheme: the integer type of activations.
        params: the quantization parameters of each point, in `dtype`.
        active: whether activations are rounded, () boolean.
        frozen: whether ranges and batch normalization are not updated, () boolean.
        training: whether the pass trains.
        dtype: of the values. "float64": each value is rounded as by `int16_arithmetic`.
        multipliers: of the int8 kernel, by the name of a point that is a sum.
    """

    scheme: Scheme
    params: Mapping[str, QuantParams]
    active: Array
    frozen: Array
    training: bool = False
    dtype: str = "float32"
    multipliers: Mapping[str, RescaleMultipliers] = field(default_factory=dict)

    @property
    def is_exact(self) -> bool:
        """Whether values are rounded as by `int16_arithmetic`."""
        return self.dtype == int16_arithmetic.EXACT

    def cast(self, params: QuantParams) -> QuantParams:
        """The parameters in the dtype of the pass."""
        return cast_params(params, self.dtype) if self.is_exact else params

    def snap(self, x: Array, params: QuantParams) -> Array:
        """Cast float32 multiples of a scale to the dtype of the pass, as exact multiples of it."""
        if not self.is_exact:
            return x
        params = self.cast(params)
        return ops.round(ops.cast(x, self.dtype) / params.scale) * params.scale

    def round(
        self, x: Array, params: QuantParams, accumulator: AccumulatorScale | None = None
    ) -> Array:
        """Fake-quantize x where rounding is active; `accumulator` if x is a sum of products."""
        if accumulator is not None and self.is_exact:
            quantized = int16_arithmetic.requantize(x, accumulator, params)
        else:
            quantized = fake_quantize(x, params, accumulator.scale if accumulator else None)
        return ops.where(self.active, quantized, x)

    def function(self, f: Function, x: Array, params: QuantParams | None) -> Array:
        """`f(x)` before it is rounded; in int16x8 results by the kernel's table, gradient of f."""
        y, name = f(x), getattr(f, "__name__", "")
        in_table = self.scheme.name == "int16x8" and name in KERNELS
        if self.training or params is None or not in_table:
            return y
        on_device = ops.cast(lookup(name, x, params.scale), self.dtype)
        return y + ops.stop_gradient(ops.where(self.active, on_device - y, 0.0))

    def add(
        self,
        name: str,
        a: Array,
        b: Array,
        sign: int,
        params: tuple[QuantParams, QuantParams, QuantParams],
    ) -> Array:
        """`a + sign·b` at a point; `params` are those of a, b and the result."""
        exact = a + sign * b
        if self.is_exact:
            quantized = int16_arithmetic.add(a, b, sign, params)
        elif name in self.multipliers:
            quantized = int8_arithmetic.add(a, b, sign, params, self.multipliers[name])
        else:
            return self.round(exact, params[2])
        return ops.where(self.active, quantized, exact)

    def requantize(self, x: Array, before: QuantParams | None, after: QuantParams) -> Array:
        """Requantize x; `before` is None where x is not rounded yet."""
        if before is None or self.scheme.name != "int8":
            return self.round(x, after)
        return ops.where(self.active, int8_arithmetic.requantize(x, before, after), x)

    def quantize_weights(
        self, W: Array, b: Array | None, operand: QuantParams, kernel: str | None = None
    ) -> tuple[Array, Array | None, AccumulatorScale]:
        """Quantize the weights of a matrix product: int8, symmetric, a scale per output.

        Args:
            W: the outputs are its last axis.
            b: the bias; it gets the scale of the accumulator.
            operand: the parameters of what W is multiplied by.
            kernel: of `int16_arithmetic.KERNELS`; None: that of FULLY_CONNECTED.

        Returns:
            W and b, and the scale of the accumulator.
        """
        params = weight_params(W)
        scale = operand.scale * self.cast(params).scale
        fully_connected = "fully_connected" if b is None else "fully_connected_bias"
        if b is not None:
            b = self._quantize_bias(tensor_of(b), scale)
        W = self.snap(fake_quantize(tensor_of(W), params), params)
        return W, b, AccumulatorScale(scale, kernel or fully_connected)

    def _quantize_bias(self, b: Array, scale: Array) -> Array:
        if not self.is_exact:
            return self.round(b, QuantParams(scale, -BIAS_LIMIT, BIAS_LIMIT))
        # The quantizer divides in float32; the result may have more bits than a float32.
        return ops.cast(ops.round(b / ops.cast(scale, "float32")), self.dtype) * scale


def cast_params(params: QuantParams, dtype: str) -> QuantParams:
    """The parameters in another dtype."""
    return QuantParams(*(ops.cast(part, dtype) for part in params))


def tensor_of(weight: Array) -> Array:
    """The value of a variable or tensor: TensorFlow's custom gradients do not accept variables."""
    return weight * 1.0


class Observer:
    """Receives the values at the points of a forward pass. This class ignores them."""

    def visit(self, name: str, fixed: QuantParams | None) -> None:
        """The pass uses a point. `fixed`: the parameters that its kernel fixes, or None."""

    def observe(self, name: str, x: Array) -> None:
        """The pass computed these values at a point, before they are rounded."""

    def add(self, name: str, operands: tuple[str, str]) -> None:
        """The point is the sum or the difference of two points."""


@dataclass(frozen=True)
class Points:
    """The quantization points of a model.

    Attributes:
        learned: the names of those with a learned range, in the order of their first use.
        fixed: the parameters of those whose kernel fixes them.
        sums: the operands of those that are sums or differences.
    """

    learned: tuple[str, ...]
    fixed: Mapping[str, QuantParams]
    sums: Mapping[str, tuple[str, str]]


class PointFinder(Observer):
    """Collects the points of a model."""

    def __init__(self) -> None:
        self._learned: dict[str, None] = {}
        self._fixed: dict[str, QuantParams] = {}
        self._sums: dict[str, tuple[str, str]] = {}

    def visit(self, name: str, fixed: QuantParams | None) -> None:
        """Record the point, once."""
        if fixed is not None:
            self._fixed[name] = fixed
        elif name not in self._fixed:
            self._learned[name] = None

    def add(self, name: str, operands: tuple[str, str]) -> None:
        """Record the operands of a sum."""
        self._sums[name] = operands

    def points(self) -> Points:
        """The collected points."""
        return Points(tuple(self._learned), self._fixed, self._sums)


class RangeObserver(Observer):
    """Collects the ranges of a pass, or of the rows of a batch in a loop over time.

    Args:
        points: the names of the points to observe.
        per_row: whether the maxima have the shape (B,) instead of ().
    """

    def __init__(self, points: Sequence[str], per_row: bool = False) -> None:
        self.points, self._per_row = tuple(points), per_row
        self._maxima: dict[str, Maxima] = {}

    def observe(self, name: str, x: Array) -> None:
        """Widen the range of a point by the values x."""
        if name in self.points:
            x, axes = ops.stop_gradient(x), tuple(range(1, len(x.shape))) if self._per_row else None
            self.record(name, (ops.max(-x, axis=axes), ops.max(x, axis=axes)))

    def record(self, name: str, maxima: Maxima) -> None:
        """Widen the range of a point by the maxima of -x and x."""
        before = self._maxima.get(name)
        updated = maxima if before is None else tuple(map(ops.maximum, before, maxima))
        self._maxima[name] = (updated[0], updated[1])

    def drain(self) -> dict[str, Maxima]:
        """Return and clear the maxima that were observed since the last call."""
        maxima, self._maxima = self._maxima, {}
        return maxima

    def ranges(self) -> Array:
        """The minimum and the maximum at each point, (N, 2)."""
        pairs = [self._maxima[name] for name in self.points]
        return ops.stack([ops.stack([-low, high]) for low, high in pairs])
