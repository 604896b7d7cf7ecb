"""Markers in a graph, custom operators at the quantization points of a trained model.

The converter renames, joins and moves what it likes, but keeps a custom operator whole. So each
quantization point is one in the graph to convert; `strip_markers` removes them from the converted
file, and says at which tensor each of them was.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from kgated.deploy.tflite.cleanup import eliminate_dead_code, remove_unread_operators
from kgated.deploy.tflite.flatbuffer import is_constant, operator_name, tensor_name
from kgated.keras_internals.tensorflow_private import custom_operator
from kgated.quantization_hook import QuantizationHook

MARKER = "kgated_point"


class StepMarkers(QuantizationHook):
    """Marks each quantization point of a step; the names of the points start with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, name: str, value: Any) -> Any:
        """The value, with a marker after it."""
        return _with_marker(value, self.prefix + name)

    def nested(self, name: str, state: str) -> "StepMarkers":
        """The markers of a nested product."""
        return StepMarkers(f"{self.prefix}{name}/")


class Marker(keras.layers.Identity):
    """A layer that marks its input as the quantization point of that name."""

    def __init__(self, point: str, name: str) -> None:
        super().__init__(name=name)
        self.point, self.supports_masking = point, True

    def compute_output_shape(self, shape: Any) -> Any:
        """The same; the graph is built without TensorFlow where need be."""
        return shape

    def call(self, x: Any) -> Any:
        """The value, with a marker after it."""
        return _with_marker(x, self.point)


def _with_marker(x: Any, point: str) -> Any:
    if keras.backend.backend() != "tensorflow":
        return x  # the graph is checked here, and converted in another process
    return _marker_function(point)(x)


@cache
def _marker_function(point: str) -> Callable[[Any], Any]:
    # As hexadecimal digits a name goes through the converter whatever is in it.
    @custom_operator(MARKER, {"point": point.encode().hex()})
    def marker(x: Any) -> Any:
        return x + 0.0

    return marker


def strip_markers(model: schema.ModelT) -> dict[str, list[str]]:
    """Remove the markers from a file.

    Returns:
        The quantization points of each marked tensor by its name, in the order of the graph.
    """
    points: dict[str, list[str]] = {}
    for graph in model.subgraphs:
        sources: dict[int, int] = {}  # of a marker's output, its input
        operators = []
        for operator in graph.operators:
            operator.inputs = [sources.get(int(n), int(n)) for n in operator.inputs]
            if operator_name(model, operator) != MARKER:
                operators.append(operator)
                continue
            options = flexbuffers.Loads(bytes(operator.customOptions))
            point = bytes.fromhex(options["point"]).decode()
            (source,), (target,) = operator.inputs, operator.outputs
            if is_constant(model, graph.tensors[source]):
                source = _copied(graph, source, point)
            sources[int(target)] = source
            points.setdefault(tensor_name(graph.tensors[source]), []).append(point)
        graph.operators = operators
        _rename_outputs(model, graph, sources)
        remove_unread_operators(graph)  # such as the forget gate of a first step
    eliminate_dead_code(model)
    return points


def _copied(graph: schema.SubGraphT, source: int, point: str) -> int:
    """A constant of its own for a point: zeros are one tensor for all that start with them."""
    tensor = copy.copy(graph.tensors[source])
    tensor.name = f"{tensor_name(tensor)}/{point}/{len(graph.tensors)}".encode()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _rename_outputs(model: schema.ModelT, graph: schema.SubGraphT, sources: dict[int, int]) -> None:
    graph.outputs = [sources.get(int(n), int(n)) for n in graph.outputs]
    for signature in model.signatureDefs:
        if model.subgraphs[signature.subgraphIndex] is graph:
            for entry in signature.outputs:
                entry.tensorIndex = sources.get(entry.tensorIndex, entry.tensorIndex)
