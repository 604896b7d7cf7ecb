"""Elementwise operators on int8 as C expressions, equal to LiteRT's kernels bit for bit.

A sum is computed with multipliers of 21 bits and a product with a float multiplier, each rounded
once; a function of one number is a table of its 256 results. See `qat.int8_arithmetic`.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import literal
from kgated.deploy.c.fixed_point import prelu, squared_difference
from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.lookup import UNARY, table_of

LOWEST, HIGHEST = -128, 127
_MULTIPLIER_BITS = 20
_F32 = np.float32


def quantized_expression(code: Code, operator: Operator, arguments: list[str]) -> str:
    """The C expression of an element of the operator's result, an integer.

    Raises:
        ConversionError: there is none for this operator or its types.
    """
    expression = _EXPRESSIONS.get(operator.name)
    kinds = tuple(x.dtype for x in (*filter(None, operator.inputs), operator.output))
    if expression is None or set(kinds) - {"int8", *_MORE_TYPES.get(operator.name, ())}:
        raise operator.refused(f"its types are {', '.join(kinds)}")
    code.use("integers")
    return expression(code, operator, arguments)


def is_quantized(operator: Operator) -> bool:
    """Whether an operator reads or writes integers that stand for floats."""
    tensors = (*filter(None, operator.inputs), operator.output)
    return any(x.dtype in ("int8", "int16") for x in tensors)


def bounds(operator: Operator) -> tuple[int, int]:
    """The smallest and the largest integer of the result, with the operator's activation."""
    code, result = int(operator.options.get("fusedActivationFunction", 0)), operator.output
    limits = {0: (-math.inf, math.inf), 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
    if code not in limits:
        raise operator.refused(f"its fused activation has the code {code}")
    low, high = (
        x if math.isinf(x) else round(x / float(result.scale)) + result.zero_point
        for x in limits[code]
    )
    return int(max(low, LOWEST)), int(min(high, HIGHEST))


def _sum(code: Code, operator: Operator, arguments: list[str]) -> str:
    a, b, result = operator.input(0), operator.input(1), operator.output
    first, second = _F32(a.scale / result.scale), _F32(b.scale / result.scale)
    shift = _MULTIPLIER_BITS - (math.frexp(float(max(first, second)))[1] - 1)
    factors = [int(np.rint(float(x) * 2.0**shift)) for x in (first, second)]
    if operator.name == "SUB":
        factors[1] = -factors[1]
    bias = (1 << (shift - 1)) - factors[0] * a.zero_point - factors[1] * b.zero_point
    low, high = bounds(operator)
    terms = f"{arguments[0]} * {factors[0]} + {arguments[1]} * {factors[1]} + ({bias})"
    return f"kg_clip((({terms}) >> {shift}) + ({result.zero_point}), {low}, {high})"


def _product(code: Code, operator: Operator, arguments: list[str]) -> str:
    a, b, result = operator.input(0), operator.input(1), operator.output
    scale = literal(_F32(_F32(a.scale * b.scale) / result.scale))
    factors = [
        f"({x} - ({t.zero_point}))" for x, t in zip(arguments, operator.inputs, strict=True) if t
    ]
    low, high = bounds(operator)
    return f"kg_rescale({' * '.join(factors)}, {scale}, {result.zero_point}, {low}, {high})"


def _table(function: Callable[[np.ndarray], np.ndarray]) -> Callable[..., str]:
    def expression(code: Code, operator: Operator, arguments: list[str]) -> str:
        x, result = operator.input(0), operator.output
        values = x.scale * (np.arange(LOWEST, HIGHEST + 1) - x.zero_point).astype(_F32)
        exact = function(values.astype(np.float64)).astype(_F32)
        numbers = np.rint(exact * (_F32(1.0) / result.scale)) + result.zero_point
        entries = np.clip(numbers, LOWEST, HIGHEST).astype(np.int8)
        return f"{code.constant(entries, 'f')}[{arguments[0]} + 128]"

    return expression


def _requantize(code: Code, operator: Operator, arguments: list[str]) -> str:
    x, result = operator.input(0), operator.output
    if x.dtype == "float32":
        return f"kg_quantize({arguments[0]}, {literal(result.scale)}, {result.zero_point})"
    return _by_256th(arguments[0], x, result, 1.0)


def _by_256th(argument: str, x: Tensor, result: Tensor, slope: float) -> str:
    """A multiplier that is a multiple of 1/256."""
    factor = int(np.rint(256.0 * slope * float(x.scale / result.scale)))
    number = f"((({argument} - ({x.zero_point})) * {factor} + 128) >> 8) + ({result.zero_point})"
    return f"kg_clip({number}, {LOWEST}, {HIGHEST})"


def _dequantize(code: Code, operator: Operator, arguments: list[str]) -> str:
    x = operator.input(0)
    return f"{literal(x.scale)} * (float)({arguments[0]} - ({x.zero_point}))"


def _leaky_relu(code: Code, operator: Operator, arguments: list[str]) -> str:
    x, result = operator.input(0), operator.output
    slope = float(operator.options["alpha"])
    above, below = (_by_256th(arguments[0], x, result, s) for s in (1.0, slope))
    return f"({arguments[0]} >= {x.zero_point} ? {above} : {below})"


def _extreme(sign: str) -> Callable[..., str]:
    def expression(code: Code, operator: Operator, arguments: list[str]) -> str:
        for x in (operator.input(0), operator.input(1)):
            check_same_scale(operator, x)
        return "({0} {2} {1} ? {0} : {1})".format(*arguments, sign)

    return expression


def check_same_scale(operator: Operator, part: Tensor) -> None:
    """Refuse an operator that copies integers, where they stand for other numbers afterwards."""
    if not part.scales.size:
        return
    result = operator.output
    if (part.scale, part.zero_point) != (result.scale, result.zero_point):
        raise operator.refused("its inputs have scales of their own")


def _select(code: Code, operator: Operator, arguments: list[str]) -> str:
    for part in (operator.input(1), operator.input(2)):
        check_same_scale(operator, part)
    return "({} ? {} : {})".format(*arguments)


def _as_stored(code: Code, operator: Operator, arguments: list[str]) -> str:
    return f"(int32_t){arguments[0]}"


def _by_litert(code: Code, operator: Operator, arguments: list[str]) -> str:
    return f"{code.constant(table_of(operator), 'f')}[{arguments[0]} + 128]"


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


_EXPRESSIONS: Mapping[str, Callable[[Code, Operator, list[str]], str]] = {
    **dict.fromkeys(("ADD", "SUB"), _sum),
    "MUL": _product,
    "LOGISTIC": _table(_logistic),
    "TANH": _table(np.tanh),
    "RELU": _table(lambda x: np.maximum(x, 0.0)),
    "RELU6": _table(lambda x: np.clip(x, 0.0, 6.0)),
    "LEAKY_RELU": _leaky_relu,
    "QUANTIZE": _requantize,
    "DEQUANTIZE": _dequantize,
    "MAXIMUM": _extreme(">"),
    "MINIMUM": _extreme("<"),
    "SQUARED_DIFFERENCE": squared_difference,
    "PRELU": prelu,
    "CAST": _as_stored,
    **dict.fromkeys(("SELECT", "SELECT_V2"), _select),
    **dict.fromkeys(UNARY, _by_litert),
}
_MORE_TYPES = {
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE"), ("float32",)),
    **dict.fromkeys(("SELECT", "SELECT_V2"), ("bool",)),
    "CAST": ("int32",),
}
"""Types of operands and result beside int8."""
