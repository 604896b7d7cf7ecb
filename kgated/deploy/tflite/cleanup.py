"""Takes out of a file what nothing refers to any more."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.flatbuffer import pack, parse, tensor_name

_CONVERTER_NOTES = b"CONVERSION_METADATA"


def drop_unused(model: schema.ModelT) -> None:
    """Take out the tensors, buffers and operator codes that nothing refers to any more."""
    for number, graph in enumerate(model.subgraphs):
        signatures = [one for one in model.signatureDefs or [] if one.subgraphIndex == number]
        _drop_tensors(graph, [side for one in signatures for side in (one.inputs, one.outputs)])
    operators = [one for graph in model.subgraphs for one in graph.operators]
    places = _kept(model.operatorCodes, {one.opcodeIndex for one in operators})
    model.operatorCodes = [model.operatorCodes[old] for old in places]
    for operator in operators:
        operator.opcodeIndex = places[operator.opcodeIndex]
    holders = [*(model.metadata or []), *(t for graph in model.subgraphs for t in graph.tensors)]
    places = _kept(model.buffers, {0, *(one.buffer for one in holders)})  # 0 stands for no data
    model.buffers = [model.buffers[old] for old in places]
    for holder in holders:
        holder.buffer = places[holder.buffer]


def _drop_tensors(graph: schema.SubGraphT, maps: list[list[schema.TensorMapT]]) -> None:
    lists = [(graph, "inputs"), (graph, "outputs")]
    for operator in graph.operators:
        lists += [(operator, name) for name in ("inputs", "outputs", "intermediates")]
    lists = [(owner, name) for owner, name in lists if getattr(owner, name) is not None]
    used = {int(index) for owner, name in lists for index in getattr(owner, name)}
    places = {-1: -1, **_kept(graph.tensors, used)}
    graph.tensors = [graph.tensors[old] for old in places if old >= 0]
    for owner, name in lists:
        setattr(owner, name, np.array([places[int(n)] for n in getattr(owner, name)], np.int32))
    for entry in (one for pairs in maps for one in pairs):
        entry.tensorIndex = places[entry.tensorIndex]


def _kept(items: list, used: set[int]) -> dict[int, int]:
    """From the old index of each item used to its new one."""
    return {old: new for new, old in enumerate(n for n in range(len(items)) if n in used)}


def share_subgraphs(tflite: bytes) -> bytes:
    """Let every WHILE of equal condition and body run the same two subgraphs.

    The kernels pack a subgraph's weights once, however many loops run it.

    Args:
        tflite: a file; what it computes does not change.

    Returns:
        The file without the subgraphs that were there already; the same bytes where there are none.
    """
    model = flatbuffer.parse(tflite)
    first: dict[Any, int] = {}
    same = [first.setdefault(_content(model, g), n) for n, g in enumerate(model.subgraphs)]
    kept = sorted(set(same))
    if len(kept) == len(same):
        return tflite
    place = {old: new for new, old in enumerate(kept)}
    model.subgraphs = [model.subgraphs[n] for n in kept]
    for loop in _loops(model):
        loop.condSubgraphIndex = place[same[loop.condSubgraphIndex]]
        loop.bodySubgraphIndex = place[same[loop.bodySubgraphIndex]]
    for signature in model.signatureDefs:
        signature.subgraphIndex = place[same[signature.subgraphIndex]]
    return flatbuffer.pack(model, len(tflite))


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
    constants = [None if one is None or len(one) == 0 else bytes(one) for one in data]
    shape = (graph.tensors, list(graph.inputs), list(graph.outputs), graph.operators)
    return _plain(shape), tuple(constants)


def _plain(value: Any) -> Any:
    if hasattr(value, "__dict__"):
        fields = {k: v for k, v in vars(value).items() if k not in ("name", "buffer")}
        return (type(value).__name__, tuple((k, _plain(v)) for k, v in sorted(fields.items())))
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def slim(tflite: bytes) -> bytes:
    """The same file without what nobody reads: empty tables, notes of tools, long names.

    A tensor keeps the name of its layer; hundreds of long names outweigh a small model.
    """
    model = parse(tflite)
    kept = [entry for entry in model.metadata or [] if entry.name != _CONVERTER_NOTES]
    for entry in model.metadata or []:
        if entry not in kept:
            model.buffers[entry.buffer].data = None
    model.metadata = kept
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.quantization is not None and tensor.quantization.scale is None:
                tensor.quantization = None
            tensor.name = tensor_name(tensor).split("/")[0].encode()
    return pack(model, len(tflite))
