"""Elementwise operators of int8 files as C expressions."""

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Operator

TABLES_AND_SUMS: set[str] = set()


def quantized_expression(code: Code, operator: Operator, arguments: list[str]) -> str:
    """The C expression of an element of the operator's result, an integer."""
    raise operator.refused(f"its type is {operator.output.dtype}")
