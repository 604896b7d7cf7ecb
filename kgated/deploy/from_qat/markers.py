"""Marks in a graph that say where a trained model rounds, found again in the converted file.

The converter renames, joins and moves what it likes, but keeps a custom operator whole. So each
point of a quantization-aware model is one in the graph to convert; `unmarked` takes them out again,
and says which tensor each of them stood at.
"""

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import keras
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from kgated.deploy.tflite.cleanup import drop_unused
from kgated.deploy.tflite.flatbuffer import operator_name, pack, parse, tensor_name
from kgated.steps import QuantizationHook

MARK = "kgated_point"


class Marks(QuantizationHook):
    """Marks each quantization point of a step; the names of the points start with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self, name: str, value: Any) -> Any:
        """The value, marked."""
        return _marked(value, self.prefix + name)

    def nested(self, name: str, state: str) -> "Marks":
        """The markers of a nested product."""
        return Marks(f"{self.prefix}{name}/")


class Mark(keras.layers.Identity):
    """A layer that marks what goes through it as the point of that name."""

    def __init__(self, point: str, name: str) -> None:
        super().__init__(name=name)
        self.point, self.supports_masking = point, True

    def compute_output_shape(self, shape: Any) -> Any:
        """The same; the graph is built without TensorFlow where need be."""
        return shape

    def call(self, x: Any) -> Any:
        """The value, marked."""
        return _marked(x, self.point)


def _marked(x: Any, point: str) -> Any:
    if keras.backend.backend() != "tensorflow":
        return x  # the graph is looked at here, and converted elsewhere
    return _function(point)(x)


@cache
def _function(point: str) -> Callable[[Any], Any]:
    import tensorflow as tf

    # As hexadecimal digits a name goes through the converter whatever is in it.
    described = f'attr {{ key: "point" value {{ s: "{point.encode().hex()}" }} }}'
    fusable = 'attr { key: "tfl_fusable_op" value { b: true } }'

    @tf.function(experimental_implements=f'name: "{MARK}" {fusable} {described}', autograph=False)
    def mark(x: Any) -> Any:
        return x + 0.0

    return mark


def unmarked(tflite: bytes) -> tuple[bytes, dict[str, list[str]]]:
    """Take the marks out of a file.

    Returns:
        The file, and the points of each marked tensor by its name, in the order of the graph.
    """
    model = parse(tflite)
    found: dict[str, list[str]] = {}
    for graph in model.subgraphs:
        instead: dict[int, int] = {}
        kept = []
        for operator in graph.operators:
            operator.inputs = [instead.get(int(n), int(n)) for n in operator.inputs]
            if operator_name(model, operator) != MARK:
                kept.append(operator)
                continue
            told = flexbuffers.Loads(bytes(operator.customOptions))
            point = bytes.fromhex(told["point"]).decode()
            (source,), (target,) = operator.inputs, operator.outputs
            if is_constant(model, graph.tensors[source]):
                source = _copied(graph, source, point)
            instead[int(target)] = source
            found.setdefault(tensor_name(graph.tensors[source]), []).append(point)
        graph.operators = kept
        _rename_outputs(model, graph, instead)
        _drop_unread(graph)
    drop_unused(model)
    return pack(model, len(tflite)), found


def _drop_unread(graph: schema.SubGraphT) -> None:
    """Take out operators that only a mark read, as the forget gate of a first step."""
    read = set(map(int, graph.outputs))
    kept = []
    for operator in reversed(graph.operators):
        if read & set(map(int, operator.outputs)):
            kept.append(operator)
            read |= set(map(int, operator.inputs))
    graph.operators = kept[::-1]


def _copied(graph: schema.SubGraphT, source: int, point: str) -> int:
    """A constant of its own for a point: zeros are one tensor for all that start with them."""
    tensor = copy.copy(graph.tensors[source])
    tensor.name = f"{tensor_name(tensor)}/{point}/{len(graph.tensors)}".encode()
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _rename_outputs(model: schema.ModelT, graph: schema.SubGraphT, instead: dict[int, int]) -> None:
    graph.outputs = [instead.get(int(n), int(n)) for n in graph.outputs]
    for signature in model.signatureDefs:
        if model.subgraphs[signature.subgraphIndex] is graph:
            for entry in signature.outputs:
                entry.tensorIndex = instead.get(entry.tensorIndex, entry.tensorIndex)


def is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether a tensor's numbers stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
