"""Operators that act on each number alone, as C expressions in float."""

from collections.abc import Callable, Mapping

import numpy as np

from kgated.deploy.c.graph import Operator

_ACTIVATIONS = {
    0: "{}",
    1: "kg_max({}, 0.0f)",
    2: "kg_min(kg_max({}, -1.0f), 1.0f)",
    3: "kg_min(kg_max({}, 0.0f), 6.0f)",
    4: "kg_tanh({})",
}
_FORMS: Mapping[str, str] = {
    "ADD": "{0} + {1}",
    "SUB": "{0} - {1}",
    "MUL": "{0} * {1}",
    "DIV": "{0} / {1}",
    "MAXIMUM": "kg_max({0}, {1})",
    "MINIMUM": "kg_min({0}, {1})",
    "SQUARED_DIFFERENCE": "({0} - {1}) * ({0} - {1})",
    "LOGISTIC": "kg_sigmoid({0})",
    "TANH": "kg_tanh({0})",
    "NEG": "-{0}",
    "ABS": "fabsf({0})",
    "SQUARE": "{0} * {0}",
    "SQRT": "sqrtf({0})",
    "RSQRT": "1.0f / sqrtf({0})",
    "EXP": "expf({0})",
    "LOG": "logf({0})",
    "SIN": "sinf({0})",
    "COS": "cosf({0})",
    "FLOOR": "floorf({0})",
    "CEIL": "ceilf({0})",
    "POW": "powf({0}, {1})",
    "RELU": "kg_max({0}, 0.0f)",
    "RELU6": "kg_min(kg_max({0}, 0.0f), 6.0f)",
    "RELU_N1_TO_1": "kg_min(kg_max({0}, -1.0f), 1.0f)",
    "RELU_0_TO_1": "kg_min(kg_max({0}, 0.0f), 1.0f)",
    "ELU": "({0} > 0.0f ? {0} : expm1f({0}))",
    "HARD_SWISH": "{0} * kg_min(kg_max({0} + 3.0f, 0.0f), 6.0f) * (1.0f / 6.0f)",
    "PRELU": "({0} >= 0.0f ? {0} : {0} * {1})",
    "EQUAL": "({0} >= {1} && {0} <= {1})",
    "NOT_EQUAL": "!({0} >= {1} && {0} <= {1})",
    "LESS": "({0} < {1})",
    "LESS_EQUAL": "({0} <= {1})",
    "GREATER": "({0} > {1})",
    "GREATER_EQUAL": "({0} >= {1})",
    "LOGICAL_AND": "({0} && {1})",
    "LOGICAL_OR": "({0} || {1})",
    "LOGICAL_NOT": "!{0}",
    "SELECT": "({0} ? {1} : {2})",
    "SELECT_V2": "({0} ? {1} : {2})",
}
_C_TYPES = {"float32": "float", "int32": "int32_t", "bool": "int"}


def expression(operator: Operator, arguments: list[str]) -> str:
    """The C expression of an element of the operator's result.

    Args:
        operator: an elementwise one.
        arguments: the C expression of an element of each input.

    Raises:
        ConversionError: there is none for this operator.
    """
    special = _SPECIAL.get(operator.name)
    if special is not None:
        return special(operator, arguments)
    dtype = operator.input(0).dtype
    if operator.output.dtype not in _C_TYPES or dtype not in _C_TYPES:
        raise operator.refused(f"its type is {dtype}")
    if dtype == "int32" and operator.name in _FLOAT_ONLY:
        raise operator.refused("its type is int32")
    return with_activation(operator, _FORMS[operator.name].format(*arguments))


def with_activation(operator: Operator, text: str) -> str:
    """A C expression with the activation that the operator applies to its result."""
    code = int(operator.options.get("fusedActivationFunction", 0))
    if code not in _ACTIVATIONS:
        raise operator.refused(f"its fused activation has the code {code}")
    return _ACTIVATIONS[code].format(text)


def is_elementwise(operator: Operator) -> bool:
    """Whether an operator acts on each number alone."""
    return operator.name in _FORMS or operator.name in _SPECIAL or operator.name in _CONVERSIONS


def literal(value: float | np.floating) -> str:
    """A float32 constant in C."""
    text = str(np.float32(value))
    if text in ("inf", "-inf"):
        return text.replace("inf", "INFINITY")
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _leaky_relu(operator: Operator, arguments: list[str]) -> str:
    slope = literal(operator.options["alpha"])
    return "({0} >= 0.0f ? {0} : {0} * {1})".format(arguments[0], slope)


def _gelu(operator: Operator, arguments: list[str]) -> str:
    x = arguments[0]
    if operator.options.get("approximate"):
        return f"0.5f * {x} * (1.0f + kg_tanh(0.7978845608f * ({x} + 0.044715f * {x} * {x} * {x})))"
    return f"0.5f * {x} * (1.0f + erff({x} * 0.7071067812f))"


def _cast(operator: Operator, arguments: list[str]) -> str:
    target = operator.output.dtype
    if target not in _C_TYPES or operator.input(0).dtype not in _C_TYPES:
        raise operator.refused(f"it makes {target} of {operator.input(0).dtype}")
    if target == "bool":
        return f"!({arguments[0]} >= 0 && {arguments[0]} <= 0)"
    return f"({_C_TYPES[target]})({arguments[0]})"


_SPECIAL: Mapping[str, Callable[[Operator, list[str]], str]] = {
    "LEAKY_RELU": _leaky_relu,
    "GELU": _gelu,
    "CAST": _cast,
}
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
_INTEGER = {
    *("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "NEG", "CAST", "SELECT", "SELECT_V2"),
    *("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"),
}
_FLOAT_ONLY = set(_FORMS) - _INTEGER
