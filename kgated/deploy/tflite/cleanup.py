"""Takes out of a file what nothing refers to any more."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema


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
