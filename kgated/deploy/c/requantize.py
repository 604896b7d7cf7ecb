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
    result, (low, high) = operator.output, bounds(operator)
    name = _factors(code, operator, n)
    sums, bias, target = places
    arguments = f"{sums}, {bias}, {name}, {target}, {n}, {result.zero_point}, {low}, {high}"
    yield f"kg_{code.use('rescale_sums')}({arguments});"


def rescaled_sum(code: Code, operator: Operator, channels: int) -> str:
    """The C expression of the result for `sum`, the sum of channel k."""
    result, bias = operator.output, operator.optional(2)
    low, high = bounds(operator)
    factor = f"{_factors(code, operator, channels)}[k]"
    added = f" + {code.constant(bias.data, 'b')}[k]" if bias and bias.data is not None else ""
    return f"(int8_t)kg_rescale(sum{added}, {factor}, {result.zero_point}, {low}, {high})"


def _factors(code: Code, operator: Operator, channels: int) -> str:
    """The name of the factors of all channels."""
    source, weights, result = operator.input(0), operator.input(1), operator.output
    if result.dtype != "int8":
        raise operator.refused(f"its result is {result.dtype}")
    scales = np.broadcast_to(weights.scales, (channels,)).astype(np.float32)
    code.use("integers")
    return code.constant((source.scale * scales / result.scale).astype(np.float32), "m")
