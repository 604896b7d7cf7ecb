"""The names of a signature's results by their layers, which the converter replaces by its own."""

from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import tensor_name

_COPIES = ("Identity", "StopGradient")


def traced_name(tensor: Any) -> str:
    """The name of the TensorFlow operation that computes a tensor, with the scope of its layer."""
    operation = tensor.op
    while operation.type in _COPIES and operation.inputs:
        operation = operation.inputs[0].op
    return str(operation.name)


def name_results(model: schema.ModelT, names: Mapping[str, str]) -> None:
    """Give results the names of their operations, so that `LayerTable` finds the layers.

    An operator whose constants have a name of their own is known by those: a result may be of a
    layer that the converter fused into the operator of the layer before.

    Args:
        model: the converted file, which is changed.
        names: as from `traced_name`, by the name of the result in the signature.
    """
    for entry in model.signatureDefs or []:
        graph = model.subgraphs[entry.subgraphIndex]
        taken = {tensor_name(tensor) for tensor in graph.tensors}
        for result in entry.outputs:
            name, tensor = names.get(result.name.decode(), ""), graph.tensors[result.tensorIndex]
            if "/" not in name or "/" in tensor_name(tensor) or name in taken:
                continue
            if not _is_known_by_constants(graph, result.tensorIndex):
                tensor.name = name.encode()
                taken.add(name)


def _is_known_by_constants(graph: schema.SubGraphT, result: int) -> bool:
    """Whether the operator that writes a tensor has a constant that names its layer."""
    computed = {int(n) for operator in graph.operators for n in operator.outputs}
    constants = {
        int(n)
        for operator in graph.operators
        if result in operator.outputs
        for n in operator.inputs
        if n >= 0 and int(n) not in computed
    }
    return any("/" in tensor_name(graph.tensors[n]) for n in constants)
