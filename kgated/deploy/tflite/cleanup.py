"""Takes out of a file what nothing refers to, what is there twice, and what no runtime reads."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import tensor_name

_CONVERTER_NOTES = b"CONVERSION_METADATA"


def eliminate_dead_code(model: schema.ModelT) -> None:
    """Remove the tensors, buffers and operator codes that nothing refers to any more."""
    for number, graph in enumerate(model.subgraphs):
        own = [entry for entry in model.signatureDefs or [] if entry.subgraphIndex == number]
        _drop_tensors(graph, [side for entry in own for side in (entry.inputs, entry.outputs)])
    operators = [operator for graph in model.subgraphs for operator in graph.operators]
    places = _new_places(model.operatorCodes, {operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[old] for old in places]
    for operator in operators:
        operator.opcodeIndex = places[operator.opcodeIndex]
    holders = [*(model.metadata or []), *(t for graph in model.subgraphs for t in graph.tensors)]
    used = {0, *(holder.buffer for holder in holders)}  # 0 stands for no data
    places = _new_places(model.buffers, used)
    model.buffers = [model.buffers[old] for old in places]
    for holder in holders:
        holder.buffer = places[holder.buffer]


def _drop_tensors(graph: schema.SubGraphT, maps: list[list[schema.TensorMapT]]) -> None:
    lists = [(graph, "inputs"), (graph, "outputs")]
    for operator in graph.operators:
        lists += [(operator, name) for name in ("inputs", "outputs", "intermediates")]
    lists = [(owner, name) for owner, name in lists if getattr(owner, name) is not None]
    used = {int(index) for owner, name in lists for index in getattr(owner, name)}
    places = {-1: -1, **_new_places(graph.tensors, used)}
    graph.tensors = [graph.tensors[old] for old in places if old >= 0]
    for owner, name in lists:
        setattr(owner, name, np.array([places[int(n)] for n in getattr(owner, name)], np.int32))
    for entry in (entry for entries in maps for entry in entries):
        entry.tensorIndex = places[entry.tensorIndex]


def _new_places(items: list, used: set[int]) -> dict[int, int]:
    """The new index of each used item, by its old one."""
    return {old: new for new, old in enumerate(n for n in range(len(items)) if n in used)}


def remove_unread_operators(graph: schema.SubGraphT) -> None:
    """Remove the operators whose results nothing reads, and what only they read.

    An operator without a result, such as an assignment to a variable, stays.
    """
    read, operators = set(map(int, graph.outputs)), []
    for operator in reversed(graph.operators):
        outputs = set() if operator.outputs is None else set(map(int, operator.outputs))
        if not outputs or read & outputs:
            operators.append(operator)
            read |= set(map(int, operator.inputs if operator.inputs is not None else ()))
    graph.operators = operators[::-1]


def deduplicate_subgraphs(model: schema.ModelT) -> None:
    """Let every WHILE of equal condition and body run the same two subgraphs.

    The kernels pack a subgraph's weights once, however many loops run it. What the file computes
    does not change.
    """
    first: dict[Any, int] = {}
    same = [first.setdefault(_content(model, g), n) for n, g in enumerate(model.subgraphs)]
    unique = sorted(set(same))
    place = {old: new for new, old in enumerate(unique)}
    model.subgraphs = [model.subgraphs[n] for n in unique]
    for loop in _loops(model):
        loop.condSubgraphIndex = place[same[loop.condSubgraphIndex]]
        loop.bodySubgraphIndex = place[same[loop.bodySubgraphIndex]]
    for signature in model.signatureDefs:
        signature.subgraphIndex = place[same[signature.subgraphIndex]]


def _loops(model: schema.ModelT) -> list[Any]:
    operators = [o for g in model.subgraphs for o in g.operators]
    return [
        o.builtinOptions
        for o in operators
        if o.builtinOptionsType == schema.BuiltinOptions.WhileOptions
    ]


def _content(model: schema.ModelT, graph: schema.SubGraphT) -> Any:
    """All of a subgraph but the names in it, as something that can be compared."""
    data = [model.buffers[tensor.buffer].data for tensor in graph.tensors]
    constants = [None if part is None or len(part) == 0 else bytes(part) for part in data]
    shape = (graph.tensors, list(graph.inputs), list(graph.outputs), graph.operators)
    return _plain(shape), tuple(constants)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dict__"):
        fields = {k: v for k, v in vars(value).items() if k not in ("name", "buffer")}
        return (type(value).__name__, tuple((k, _plain(v)) for k, v in sorted(fields.items())))
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def strip(model: schema.ModelT) -> None:
    """Remove what no runtime reads: empty tables, notes of tools, long names.

    A tensor keeps the name of its scope; hundreds of long names outweigh a small model. Runs after
    every pass that looks a tensor up by its name.
    """
    metadata = model.metadata or []
    for entry in metadata:
        if entry.name == _CONVERTER_NOTES:
            model.buffers[entry.buffer].data = None
    model.metadata = [entry for entry in metadata if entry.name != _CONVERTER_NOTES]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            tensor.name = tensor_name(tensor).split("/")[0].encode()
