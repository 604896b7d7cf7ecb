"""Adds the step for many streams to a file: one more subgraph per batch size, the same weights.

The subgraphs are made from the finished one of a single stream. So they have the very same weights,
scales and operators, whatever the recipe, and the file grows by their tables only.
"""

from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import batched_signature

from kgated.deploy.tflite.batch_rules import RULES
from kgated.deploy.tflite.batched_graph import BatchedGraph, BatchError
from kgated.deploy.tflite.flatbuffer import (
    clone,
    main_graph,
    main_signature,
    operator_name,
)
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError


def add_batches(model: schema.ModelT, sizes: Sequence[int], layers: LayerTable) -> None:
    """Add the signature of the step for several streams.

    Args:
        model: the file of one stream, with one signature; it is changed.
        sizes: streams per call, each above 1.
        layers: which layer each operator comes from.

    Raises:
        ConversionError: an operator can't take streams side by side, with its layer.
    """
    for size in sizes:
        graph, signature = clone(main_graph(model)), clone(main_signature(model))
        _widen(BatchedGraph(model, graph, size), layers)
        signature.signatureKey = batched_signature(size).encode()
        signature.subgraphIndex = len(model.subgraphs)
        graph.name = signature.signatureKey
        model.subgraphs.append(graph)
        model.signatureDefs.append(signature)


def _widen(batched: BatchedGraph, layers: LayerTable) -> None:
    graph = batched.graph
    for n in map(int, graph.inputs):
        batched.widen(n)
    for operator in list(graph.operators):
        if batched.streams.isdisjoint(map(int, operator.inputs)):
            continue  # of weights alone
        name = operator_name(batched.model, operator)
        try:
            if name not in RULES:
                raise BatchError("has no rule for streams side by side")
            RULES[name](batched, operator)
            for n in map(int, operator.outputs):
                batched.widen(n)
        except BatchError as error:
            layer = layers.layer(graph, operator)
            where = "" if layer is None else f" (layer `{layer}`)"
            raise ConversionError(
                f"`sessions` can't take streams together: operator {name}{where} {error}; convert "
                "without `sessions`, or with `batch` for a fixed number of streams"
            ) from None
    _check_outputs(batched)


def _check_outputs(batched: BatchedGraph) -> None:
    if not batched.streams.issuperset(map(int, batched.graph.outputs)):
        raise ConversionError(
            "`sessions` can't take streams together: an output does not depend on the frames; "
            "convert without `sessions`"
        )
