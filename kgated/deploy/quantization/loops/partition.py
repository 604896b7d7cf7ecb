"""Partitions a float file with loops into files without loops."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.flatbuffer import main_graph
from kgated.deploy.tflite.float_file import FloatFile

FLOAT32 = schema.TensorType.FLOAT32


@dataclass(frozen=True)
class Body:
    """The body of loops as a file of its own.

    Attributes:
        file: its signature has an input for every operand, and an output for each that an
            iteration changes.
        inputs: the signature's input of each operand, by the operand's number.
        outputs: the signature's output of an operand that an iteration changes.
        shared: (input, output) of what the next iteration takes.
    """

    file: FloatFile
    inputs: dict[int, str]
    outputs: dict[int, str]
    shared: SharedScales


@dataclass(frozen=True)
class Loop:
    """A WHILE of the main graph.

    Attributes:
        condition, body: the subgraphs that it runs.
        inputs, outputs: tensors of the main graph, by operand.
        iterations: how often the body runs.
    """

    condition: int
    body: int
    inputs: list[int]
    outputs: list[int]
    iterations: int


@dataclass(frozen=True)
class Partition:
    """A file that was cut at its loops.

    Attributes:
        main: the file without its loops. What they take is an output of its signature, what they
            give an input.
        to_loops, from_loops: those outputs and inputs, by the tensor's index in the whole file.
        loops: in the order of the file.
        bodies: by the subgraph's index in the whole file.
    """

    main: FloatFile
    to_loops: dict[int, str]
    from_loops: dict[int, str]
    loops: list[Loop]
    bodies: dict[int, Body]


def has_loops(model: schema.ModelT) -> bool:
    """Whether the file has a WHILE."""
    return flatbuffer.has_operator(model, "WHILE")


def partition_loops(file: FloatFile) -> Partition:
    """Cut a float file with one signature at its loops; the file stays as it is."""
    model = file.model
    loops = [
        _loop(model, operator)
        for operator in main_graph(model).operators
        if flatbuffer.operator_name(model, operator) == "WHILE"
    ]
    main, to_loops, from_loops = _without_loops(file, loops)
    bodies = {loop.body: _body(file, loop.body) for loop in loops}
    return Partition(main, to_loops, from_loops, loops, bodies)


def _loop(model: schema.ModelT, operator: schema.OperatorT) -> Loop:
    condition = operator.builtinOptions.condSubgraphIndex
    graph = model.subgraphs[condition]
    (less,) = graph.operators  # as `rnn_loops` writes it: the iteration, below how many there are
    limit = model.buffers[graph.tensors[less.inputs[1]].buffer].data
    return Loop(
        condition,
        operator.builtinOptions.bodySubgraphIndex,
        list(map(int, operator.inputs)),
        list(map(int, operator.outputs)),
        int(np.frombuffer(bytes(limit), np.int32)[0]),
    )


def _without_loops(
    file: FloatFile, loops: list[Loop]
) -> tuple[FloatFile, dict[int, str], dict[int, str]]:
    model = flatbuffer.clone(file.model)
    graph, signature = main_graph(model), flatbuffer.main_signature(model)
    graph.operators = [o for o in graph.operators if flatbuffer.operator_name(model, o) != "WHILE"]
    written = {int(n) for o in graph.operators for n in o.outputs}
    read = {int(n) for o in graph.operators for n in o.inputs} | set(map(int, graph.outputs))
    taken = sorted({n for loop in loops for n in loop.inputs} & written)
    loop_outputs = sorted({n for loop in loops for n in loop.outputs} & read)
    to_loops, from_loops = {n: f"to_{n}" for n in taken}, {n: f"from_{n}" for n in loop_outputs}
    signature.inputs += [_entry(name, n) for n, name in from_loops.items()]
    signature.outputs += [_entry(name, n) for n, name in to_loops.items()]
    return _single_graph(file, model, graph, signature), to_loops, from_loops


def _body(file: FloatFile, index: int) -> Body:
    model = flatbuffer.clone(file.model)
    graph, signature = model.subgraphs[index], flatbuffer.main_signature(model)
    ends = [(int(a), int(b)) for a, b in zip(graph.inputs, graph.outputs, strict=True)]
    changed = [k for k, (before, after) in enumerate(ends) if before != after]
    inputs = {k: f"in_{k}" for k in range(len(ends))}
    outputs = {k: f"out_{k}" for k in changed}
    signature.inputs = [_entry(name, ends[k][0]) for k, name in inputs.items()]
    signature.outputs = [_entry(name, ends[k][1]) for k, name in outputs.items()]
    read = {int(n) for operator in graph.operators for n in operator.inputs}
    carried = [k for k in changed if ends[k][0] in read]
    shared = [(inputs[k], outputs[k]) for k in carried if graph.tensors[ends[k][0]].type == FLOAT32]
    return Body(_single_graph(file, model, graph, signature), inputs, outputs, shared)


def _single_graph(
    file: FloatFile,
    model: schema.ModelT,
    graph: schema.SubGraphT,
    signature: schema.SignatureDefT,
) -> FloatFile:
    """A file of one subgraph, its inputs and outputs those of the signature."""
    model.subgraphs, model.signatureDefs, signature.subgraphIndex = [graph], [signature], 0
    graph.inputs = _tensors(signature.inputs)
    graph.outputs = _tensors(signature.outputs)
    eliminate_dead_code(model)
    return FloatFile(model, file.layers)


def _tensors(entries: Iterable[schema.TensorMapT]) -> np.ndarray:
    return np.array(list(dict.fromkeys(entry.tensorIndex for entry in entries)), np.int32)


def _entry(name: str, tensor: int) -> schema.TensorMapT:
    return schema.TensorMapT(name=name.encode(), tensorIndex=tensor)
