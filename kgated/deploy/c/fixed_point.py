"""Operators that LiteRT computes with multipliers of 32 bits, each rounded twice."""

import math

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Operator

_LEFT_SHIFT = 7  # of the operands of a squared difference


def multiplier(real: float) -> str:
    """A positive number as the arguments of kg_scaled: m and n of m / 2^31 * 2^n."""
    fraction, exponent = math.frexp(real)
    number = round(fraction * 2**31)
    if number == 2**31:
        number, exponent = number // 2, exponent + 1
    return f"{number}, {exponent}"


def squared_difference(code: Code, operator: Operator, arguments: list[str]) -> str:
    """The C expression of (a - b)^2."""
    a, b, result = operator.input(0), operator.input(1), operator.output
    twice = 2.0 * float(max(a.scale, b.scale))
    code.use("scaled")
    factors = [multiplier(float(tensor.scale) / twice) for tensor in (a, b)]
    scaled = [
        f"kg_scaled(({x} - ({tensor.zero_point})) * {1 << _LEFT_SHIFT}, {factor})"
        for x, tensor, factor in zip(arguments, (a, b), factors, strict=True)
    ]
    real = twice * twice / (float(result.scale) * 2.0 ** (2 * _LEFT_SHIFT))
    code.use("squared_difference")
    ends = f"{multiplier(real)}, {result.zero_point}"
    return f"kg_squared_difference({scaled[0]}, {scaled[1]}, {ends})"


def prelu(code: Code, operator: Operator, arguments: list[str]) -> str:
    """The C expression of x, or slope * x below 0."""
    x, slope, result = operator.input(0), operator.input(1), operator.output
    code.use("scaled")
    number = f"({arguments[0]} - ({x.zero_point}))"
    above = multiplier(float(x.scale) / float(result.scale))
    below = multiplier(float(np.float32(x.scale * slope.scale)) / float(result.scale))
    product = f"{number} * ({arguments[1]} - ({slope.zero_point}))"
    value = f"({number} >= 0 ? kg_scaled({number}, {above}) : kg_scaled({product}, {below}))"
    return f"kg_clip({value} + ({result.zero_point}), -128, 127)"
