"""Reductions over axes and pooling over frames, as C."""

from collections.abc import Iterator

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import literal
from kgated.deploy.c.graph import Operator
from kgated.deploy.c.products import activated
from kgated.deploy.c.quantized import HIGHEST, LOWEST, bounds, check_same_scale

_LOGICAL = ("sum || {}", "sum && {}")
REDUCTIONS = {
    "REDUCE_ANY": ("0", "sum || {}"),
    "REDUCE_ALL": ("1", "sum && {}"),
    "MEAN": ("0.0f", "sum + {}"),
    "SUM": ("0.0f", "sum + {}"),
    "REDUCE_MAX": ("-INFINITY", "kg_max(sum, {})"),
    "REDUCE_MIN": ("INFINITY", "kg_min(sum, {})"),
    "REDUCE_PROD": ("1.0f", "sum * {}"),
}
"""The initial value and the update of a reduction in float, by operator."""
_EXTREMES = {"REDUCE_MAX": (LOWEST, ">"), "REDUCE_MIN": (HIGHEST, "<")}


def reduction(code: Code, operator: Operator) -> Iterator[str]:
    """MEAN, SUM and extremes over neighbouring axes."""
    x = operator.input(0)
    start, form = REDUCTIONS[operator.name]
    ctype = "int" if form in _LOGICAL else "float"
    axes = sorted({int(n) % len(x.shape) for n in operator.constant(1).ravel()})
    crossed = [n for n in range(axes[0], axes[-1] + 1) if x.shape[n] > 1]
    if not set(crossed) <= set(axes):
        raise operator.refused("it combines axes that are apart")
    inner = int(np.prod(x.shape[axes[-1] + 1 :]))
    count = int(np.prod([x.shape[n] for n in axes]))
    outer = f"n / {inner} * {inner * count} + n % {inner}" if inner > 1 else f"n * {count}"
    place = f"{code.pointer(x)}[{outer} + k * {inner}]"
    yield f"for (size_t n = 0; n < {operator.output.size}; ++n) {{"
    if x.dtype == "int8":
        yield from _integer_reduction(code, operator, place, count)
        yield "}"
        return
    if x.dtype != ("bool" if ctype == "int" else "float32"):
        raise operator.refused(f"its type is {x.dtype}")
    if "kg_" in form:
        code.use("math")
    yield f"  {ctype} sum = {start};"
    yield f"  for (size_t k = 0; k < {count}; ++k) sum = {form.format(place)};"
    scale = f" / {literal(count)}" if operator.name == "MEAN" else ""
    cast = "(uint8_t)" if ctype == "int" else ""
    yield f"  {code.element(operator.output, 'n')} = {cast}sum{scale};"
    yield "}"


def _integer_reduction(code: Code, operator: Operator, place: str, count: int) -> Iterator[str]:
    """The body of a loop over the results, for numbers of int8.

    LiteRT rounds a mean or a sum after it has added the zero point, ties to even.
    """
    x, result = operator.input(0), operator.output
    target = code.element(result, "n")
    if operator.name in _EXTREMES:
        check_same_scale(operator, x)
        start, sign = _EXTREMES[operator.name]
        yield f"  int8_t best = {start};"
        yield f"  for (size_t k = 0; k < {count}; ++k)"
        yield f"    best = {place} {sign} best ? {place} : best;"
        yield f"  {target} = best;"
        return
    if operator.name not in ("MEAN", "SUM"):
        raise operator.refused("its type is int8")
    factor = np.float32(x.scale / result.scale)
    if operator.name == "MEAN":
        factor = np.float32(factor / np.float32(count))
    code.use("integers")
    yield f"  int32_t sum = {-count * x.zero_point};"
    yield f"  for (size_t k = 0; k < {count}; ++k) sum += {place};"
    ends = f"{literal(factor)}, {result.zero_point}"
    yield f"  {target} = (int8_t)kg_{code.use('rescale_mean')}(sum, {ends});"


def pool(code: Code, operator: Operator) -> Iterator[str]:
    """The largest or the mean of the numbers under a window, which lies inside the frames."""
    x, options = operator.input(0), operator.options
    if x.shape[1] != 1 or options["filterHeight"] != 1:
        raise operator.refused("it pools over two axes")
    if int(options["padding"]) == 0 and options["filterWidth"] > 1:
        raise operator.refused("it pads the frames")
    channels, places, width = x.shape[3], operator.output.shape[2], options["filterWidth"]
    place = f"((b * {x.shape[2]} + p * {options['strideW']} + j) * {channels} + k)"
    number = f"{code.pointer(x)}[{place}]"
    yield f"for (size_t n = 0; n < {operator.output.size}; ++n) {{"
    yield f"  const size_t k = n % {channels}, p = n / {channels} % {places};"
    yield f"  const size_t b = n / {channels * places};"
    each = f"  for (size_t j = 0; j < {width}; ++j)"
    if x.dtype == "int8":
        yield from _integer_pool(code, operator, f"{each} best", number, width)
    elif x.dtype == "float32":
        is_mean = operator.name == "AVERAGE_POOL_2D"
        code.use("math")
        form = f"best + {number}" if is_mean else f"kg_max(best, {number})"
        yield f"  float best = {'0.0f' if is_mean else '-INFINITY'};"
        yield f"{each} best = {form};"
        result = activated(code, operator, f"best / {literal(width)}" if is_mean else "best")
        yield f"  {code.element(operator.output, 'n')} = {result};"
    else:
        raise operator.refused(f"its type is {x.dtype}")
    yield "}"


def _integer_pool(
    code: Code, operator: Operator, each: str, number: str, width: int
) -> Iterator[str]:
    """LiteRT divides the sum of the integers, ties away from 0."""
    check_same_scale(operator, operator.input(0))
    low, high = bounds(operator)
    code.use("integers")
    result = "best"
    if operator.name == "AVERAGE_POOL_2D":
        yield "  int32_t best = 0;"
        yield f"{each} += {number};"
        result = f"(best + (best > 0 ? {width // 2} : {-(width // 2)})) / {width}"
    else:
        yield f"  int32_t best = {LOWEST};"
        yield f"{each} = {number} > best ? {number} : best;"
    yield f"  {code.element(operator.output, 'n')} = (int8_t)kg_clip({result}, {low}, {high});"
