"""A float file with loops becomes files without."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.shared_scales import Ties
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import drop_unused

FLOAT32 = schema.TensorType.FLOAT32


@dataclass(frozen=True)
class Body:
    """The body of loops as a file: signature inputs `in_K`, outputs `out_K` of operand K.

    Attributes:
        tflite: the file; an operand that a turn hands on as it came is no output.
        ties: (input, output) of what the next turn gets.
    """

    tflite: bytes
    ties: Ties


@dataclass(frozen=True)
class Loop:
    """A WHILE of the main graph.

    Attributes:
        number: the first is 0.
        condition, body: the subgraphs that it runs.
        inputs, outputs: tensors of the main graph, by operand.
        turns: how often the body runs.
    """

    number: int
    condition: int
    body: int
    inputs: list[int]
    outputs: list[int]
    turns: int


@dataclass(frozen=True)
class Pieces:
    """A file at whose loops it was cut.

    Attributes:
        main: the file without its loops. What they are given is an output `to_T` of the signature,
            what they give an input `from_T`, T the tensor's place in the whole file.
        given, made: T of these outputs and inputs.
        loops: in the order of the file.
        bodies: by the subgraph's place in the whole file.
    """

    main: bytes
    given: list[int]
    made: list[int]
    loops: list[Loop]
    bodies: dict[int, Body]


def has_loops(tflite: bytes) -> bool:
    """Whether the file has a WHILE."""
    model = flatbuffer.parse(tflite)
    return any(
        flatbuffer.operator_name(model, o) == "WHILE" for _, o in flatbuffer.operators(model)
    )


def take_apart(tflite: bytes) -> Pieces:
    """Cut a float file with one signature at its loops."""
    model = flatbuffer.parse(tflite)
    graph = main_graph(model)
    found = [o for o in graph.operators if flatbuffer.operator_name(model, o) == "WHILE"]
    loops = [_loop(model, number, operator) for number, operator in enumerate(found)]
    main, given, made = _without_loops(tflite, loops)
    bodies = {loop.body: _body(tflite, loop.body) for loop in loops}
    return Pieces(main, given, made, loops, bodies)


def main_graph(model: schema.ModelT) -> schema.SubGraphT:
    """The subgraph that the signature runs."""
    return model.subgraphs[flatbuffer.main_signature(model).subgraphIndex]


def _loop(model: schema.ModelT, number: int, operator: schema.OperatorT) -> Loop:
    condition = operator.builtinOptions.condSubgraphIndex
    graph = model.subgraphs[condition]
    (less,) = graph.operators  # as `loops` writes it: the turn's number, below how many there are
    limit = model.buffers[graph.tensors[less.inputs[1]].buffer].data
    return Loop(
        number,
        condition,
        operator.builtinOptions.bodySubgraphIndex,
        list(map(int, operator.inputs)),
        list(map(int, operator.outputs)),
        int(np.frombuffer(bytes(limit), np.int32)[0]),
    )


def _without_loops(tflite: bytes, loops: list[Loop]) -> tuple[bytes, list[int], list[int]]:
    model = flatbuffer.parse(tflite)
    graph = main_graph(model)
    graph.operators = [o for o in graph.operators if flatbuffer.operator_name(model, o) != "WHILE"]
    written = {int(n) for o in graph.operators for n in o.outputs}
    read = {int(n) for o in graph.operators for n in o.inputs} | set(map(int, graph.outputs))
    given = sorted({n for loop in loops for n in loop.inputs} & written)
    made = sorted({n for loop in loops for n in loop.outputs} & read)
    signature = flatbuffer.main_signature(model)
    signature.inputs += entries("from", made)
    signature.outputs += entries("to", given)
    return _alone(model, graph, signature), given, made


def _body(tflite: bytes, index: int) -> Body:
    model = flatbuffer.parse(tflite)
    graph, signature = model.subgraphs[index], flatbuffer.main_signature(model)
    ends = [(int(a), int(b)) for a, b in zip(graph.inputs, graph.outputs, strict=True)]
    moved = [k for k, (before, after) in enumerate(ends) if before != after]
    signature.inputs = [_entry(f"in_{k}", before) for k, (before, _) in enumerate(ends)]
    signature.outputs = [_entry(f"out_{k}", ends[k][1]) for k in moved]
    read = {int(n) for operator in graph.operators for n in operator.inputs}
    tied = [k for k in moved if ends[k][0] in read and graph.tensors[ends[k][0]].type == FLOAT32]
    ties = [(f"in_{k}", f"out_{k}") for k in tied]
    return Body(_alone(model, graph, signature), ties)


def _alone(model: schema.ModelT, graph: schema.SubGraphT, signature: schema.SignatureDefT) -> bytes:
    """A file of one subgraph, its inputs and outputs those of the signature."""
    model.subgraphs, model.signatureDefs, signature.subgraphIndex = [graph], [signature], 0
    graph.inputs = _tensors(signature.inputs)
    graph.outputs = _tensors(signature.outputs)
    drop_unused(model)
    return flatbuffer.pack(model)


def _tensors(signature: Iterable[schema.TensorMapT]) -> np.ndarray:
    return np.array(list(dict.fromkeys(entry.tensorIndex for entry in signature)), np.int32)


def entries(way: str, tensors: list[int]) -> list[schema.TensorMapT]:
    """Of a signature, for tensors of the main graph that go to, or come from, a loop."""
    return [_entry(f"{way}_{n}", n) for n in tensors]


def _entry(name: str, tensor: int) -> schema.TensorMapT:
    return schema.TensorMapT(name=name.encode(), tensorIndex=tensor)
