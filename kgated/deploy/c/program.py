"""A graph as the lines of a C function."""

from collections.abc import Iterator
from dataclasses import dataclass

from kgated.deploy.c.ahead import Ahead, split
from kgated.deploy.c.ahead import lines as ahead_lines
from kgated.deploy.c.code import Code
from kgated.deploy.c.elementwise import is_elementwise
from kgated.deploy.c.graph import Graph, Tensor
from kgated.deploy.c.loops import loop
from kgated.deploy.c.memory import Memory
from kgated.deploy.c.nodes import Node
from kgated.deploy.c.operators import emitter
from kgated.deploy.c.schedule import Step, steps_of
from kgated.deploy.c.views import Views


@dataclass(frozen=True)
class Program:
    """The parts of a step, the memory it needs, and the products that run before the steps."""

    nodes: list[Node]
    code: Code
    ahead: list[Ahead]
    ahead_lines: list[str]


def write_program(
    graph: Graph, states: dict[str, str], ports: dict[str, str], is_sequence: bool = False
) -> Program:
    """The C step of a graph.

    Args:
        graph: the operators.
        states: by state the C name of its member.
        ports: by input and output the C name of its parameter.
        is_sequence: whether the frames of the next steps are known.

    Raises:
        ConversionError: an operator that C cannot express, with its layer.
    """
    graph, products = split(graph, set(states)) if is_sequence else (graph, [])
    views = Views(graph.operators)
    steps = steps_of(graph.operators, views, is_elementwise)
    memory = Memory(steps, views, graph.outputs.values())
    names = {x: f"s->{states[n]}" if n in states else ports[n] for n, x in graph.inputs.items()}
    names |= {product.operator.output: product.name for product in products}
    code = Code(views, memory, names)
    nodes = [node for step in steps for node in _nodes(code, step)]
    nodes += _copies(code, graph, states, ports)
    before = [line for product in products for line in ahead_lines(code, product)]
    return Program(nodes, code, products, before)


def _nodes(code: Code, step: Step) -> Iterator[Node]:
    if step.is_loop:
        yield from loop(code, step)
    else:
        (operator,) = step.operators
        yield from emitter(operator)(code, operator)


def _copies(
    code: Code, graph: Graph, states: dict[str, str], ports: dict[str, str]
) -> Iterator[str]:
    """Copy the results to the caller and to the states, last of all."""
    arrays = {code.names[tensor] for name, tensor in graph.inputs.items() if name in states}
    late = []
    for name, tensor in graph.outputs.items():
        source = code.pointer(tensor)
        target = f"s->{states[name]}" if name in states else ports[name]
        if name in states and code.array(tensor)[0] in arrays - {target}:
            held = code.temporary(tensor.dtype, tensor.size, f"_{states[name]}")
            yield _copy(held, source, tensor)
            source = held
        if source != target:
            late.append(_copy(target, source, tensor))
    yield from sorted(late, key=lambda line: line.startswith("memcpy(s->"))


def _copy(target: str, source: str, tensor: Tensor) -> str:
    return f"memcpy({target}, {source}, {tensor.size} * sizeof *{target});"
