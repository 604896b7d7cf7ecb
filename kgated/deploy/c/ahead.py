"""Products of a frame that do not depend on the state: x·W of several frames at once.

A cell computes W·[x, h] + b. Over a sequence W·x + b of several frames is computed in one pass over
W, before the steps, which then add R·h.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from kgated.deploy.c.code import Code
from kgated.deploy.c.graph import Graph, Operator, Tensor
from kgated.deploy.c.products import ROWS, bias_of, integer_weights, padded_columns
from kgated.deploy.c.views import Views

INTEGERS = "q_ahead"
"""The member of the struct with the quantized frames."""


@dataclass(frozen=True)
class Ahead:
    """A product that is computed for several frames before their steps.

    Attributes:
        operator: FULLY_CONNECTED of a frame; its output is an input of the steps.
        frame: the input of the model that it reads.
        name: the C name of its results.
    """

    operator: Operator
    frame: Tensor
    name: str

    @property
    def size(self) -> int:
        """How many results a frame has."""
        return self.operator.output.size

    @property
    def columns(self) -> int:
        """How many numbers a quantized frame takes."""
        return padded_columns(self.frame.size)


def split(graph: Graph, states: set[str]) -> tuple[Graph, list[Ahead]]:
    """The graph of a step without the products of its frame, and these products.

    Args:
        graph: a step.
        states: names of the inputs that are states.
    """
    views = Views(graph.operators)
    frames = {tensor for name, tensor in graph.inputs.items() if name not in states}
    parts = {x.output: x for x in graph.operators if x.name == "CONCATENATION"}
    operators, products = [], list[Ahead]()
    for operator in graph.operators:
        concatenation = parts.get(views.of(operator.inputs[0])[0]) if operator.inputs[0] else None
        frame = _frame(operator, concatenation, views, frames) if concatenation else None
        if concatenation is None or frame is None:
            operators.append(operator)
            continue
        first, second = _halves(operator, concatenation)
        products.append(Ahead(first, frame, f"ahead{len(products)}"))
        operators.append(second)
    return replace(graph, operators=_needed(operators, graph, views)), products


def lines(code: Code, product: Ahead) -> Iterator[str]:
    """The lines that compute a product of `count` frames."""
    operator = product.operator
    weights = operator.constant(1)
    n, k = weights.shape
    kind, packed, totals, scales = integer_weights(code, operator, weights)
    sums = code.temporary("int32", -(-n // ROWS) * ROWS)
    yield f"kg_ahead_{kind}({packed}, {totals}, {scales}, {bias_of(code, operator)},"
    ends = f"{code.names[product.frame]}, s->{INTEGERS}, {sums}, s->{product.name}"
    yield f"         {ends}, {n}, {k}, count);"


def _frame(
    operator: Operator, concatenation: Operator, views: Views, frames: set[Tensor]
) -> Tensor | None:
    """The frame at the front of the product's input, where it has int8 weights and one row."""
    weights = operator.inputs[1] if operator.name == "FULLY_CONNECTED" else None
    if (
        weights is None
        or weights.data is None
        or weights.dtype != "int8"
        or len(concatenation.inputs) != 2
    ):
        return None
    first, source = concatenation.inputs[0], operator.input(0)
    base, start = views.of(first) if first else (None, 0)
    fits = base in frames and start == 0 and first is not None and base.size == first.size
    is_plain = (
        source.dtype == "float32" and source.size == weights.shape[-1] == concatenation.output.size
    )
    return base if fits and is_plain else None


def _halves(operator: Operator, concatenation: Operator) -> tuple[Operator, Operator]:
    """W·x + b, and R·h with that added."""
    x, h = concatenation.input(0), concatenation.input(1)
    weights, bias = operator.input(1), operator.optional(2)
    front, back = (_columns(weights, x.size, part) for part in (0, 1))
    result = replace(operator.output, index=operator.output.index)
    first = replace(operator, inputs=(x, front, bias), outputs=(result,), options={})
    return first, replace(operator, inputs=(h, back, result))


def _columns(weights: Tensor, size: int, part: int) -> Tensor:
    data = weights.data
    assert data is not None
    data = np.ascontiguousarray(data[:, size:] if part else data[:, :size])
    return replace(weights, shape=data.shape, data=data)


def _needed(operators: list[Operator], graph: Graph, views: Views) -> list[Operator]:
    """The operators without concatenations that no operator reads."""
    read = {views.of(x)[0] for o in operators for x in o.inputs if x is not None}
    read |= {views.of(x)[0] for x in graph.outputs.values()}
    return [o for o in operators if o.name != "CONCATENATION" or o.output in read]
