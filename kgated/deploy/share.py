"""Equal subgraphs of a `.tflite` file become one."""

from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer


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
