"""Elementwise operators as one C loop."""

from collections.abc import Iterator

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import expression
from kgated.deploy.c.graph import Operator, Tensor
from kgated.deploy.c.quantized import is_quantized, quantized_expression
from kgated.deploy.c.schedule import Step, is_identity

_LOCAL_TYPES = {
    **{"float32": "float", "int8": "int32_t", "int16": "int32_t", "int32": "int32_t"},
    "bool": "int",
}


def loop(code: Code, step: Step) -> Iterator[str]:
    """The lines of a loop over all numbers of the results."""
    if step.size == 1:
        yield "{"
    else:
        yield f"for (size_t i = 0; i < {step.size}; ++i) {{"
    for operator in step.operators:
        yield f"  const {_line(code, step, operator)}"
        if code.memory.start(operator.output) is not None:
            target = code.element(operator.output, index(operator.output, step.size))
            yield f"  {target} = {_stored(operator.output)};"
    yield "}"


def _line(code: Code, step: Step, operator: Operator) -> str:
    arguments = [_argument(code, step, operator, x) for x in operator.inputs if x is not None]
    if is_quantized(operator):
        text = quantized_expression(code, operator, arguments)
    else:
        text = expression(operator, arguments)
        if "kg_" in text:
            code.use("math")
    return f"{_LOCAL_TYPES[operator.output.dtype]} {_local(operator.output)} = {text};"


def _argument(code: Code, step: Step, operator: Operator, tensor: Tensor) -> str:
    base, _ = code.views.of(tensor)
    if base in step.written and is_identity(tensor, step.size, code.views):
        return _local(base)
    place = broadcast_index(tensor.shape, operator.output.shape)
    return code.element(tensor, "0" if step.size == 1 else place)


def _local(tensor: Tensor) -> str:
    return f"v{tensor.index}"


def _stored(tensor: Tensor) -> str:
    name = _local(tensor)
    casts = {"int8": "(int8_t)", "int16": "(int16_t)", "bool": "(uint8_t)"}
    return casts.get(tensor.dtype, "") + name


def index(tensor: Tensor, size: int) -> str:
    """The place of a result's number in a loop."""
    return "0" if size == 1 else "i"


def broadcast_index(shape: tuple[int, ...], result: tuple[int, ...]) -> str:
    """The place in an array of `shape` of the number that meets number i of `result`."""
    size, total = int(np.prod(shape)), int(np.prod(result))
    if size == total:
        return "i"
    if size == 1:
        return "0"
    aligned = (1,) * (len(result) - len(shape)) + shape
    terms, stride, inner = [], 1, 1
    for own, full in reversed(list(zip(aligned, result, strict=True))):
        if own > 1:
            digit = "i" if inner == 1 else f"i / {inner}"
            is_last = inner * full == total
            digit = digit if is_last else f"{digit} % {full}"
            terms.append(digit if stride == 1 else f"({digit}) * {stride}")
            stride *= own
        inner *= full
    return " + ".join(terms)
