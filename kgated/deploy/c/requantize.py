"""Sums of integer products to the integers of the result, each rounded once."""

from collections.abc import Iterator

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Operator
from kgated.deploy.c.quantized import bounds


def requantized(
    code: Code, operator: Operator, places: tuple[str, str, str], n: int
) -> Iterator[str]:
    """The lines that turn sums into the result.

    Args:
        code: what is written.
        operator: with its weights as second input.
        places: addresses of the sums, of the bias or NULL, and of the result.
        n: how many there are.
    """
    if operator.output.dtype != "int8":
        raise operator.refused(f"its result is {operator.output.dtype}")
    source, weights, result = operator.input(0), operator.input(1), operator.output
    scales = np.broadcast_to(weights.scales, (n,)).astype(np.float32)
    factors = (source.scale * scales / result.scale).astype(np.float32)
    low, high = bounds(operator)
    code.use("integers")
    name = code.constant(factors, "m")
    sums, bias, target = places
    arguments = f"{sums}, {bias}, {name}, {target}, {n}, {result.zero_point}, {low}, {high}"
    yield f"kg_{code.use('rescale_sums')}({arguments});"
