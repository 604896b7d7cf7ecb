"""The operators of a streaming file, as the C generator reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    Attributes:
        index: its place in the subgraph.
        dtype: as NumPy spells it; "int4" is unpacked to "int8".
        scales: float32, one, or one per channel; empty where it is not quantized.
        zero_point: of a quantized tensor.
        bits: of each of its numbers that stand for floats: 4 of "int4".
        data: its numbers, where they stand in the file.
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    scales: np.ndarray
    zero_point: int = 0
    data: np.ndarray | None = None
    bits: int = 8

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape))

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor quantized as a whole."""
        return np.float32(self.scales[0])


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator with its tensors.

    Attributes:
        name: as in "FULLY_CONNECTED".
        options: the fields of its builtin options, by the schema's names.
        layer: the Keras layer that it comes from, or None.
    """

    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, Any]
    layer: str | None

    @property
    def output(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    def input(self, place: int) -> Tensor:
        """An input, which must exist."""
        tensor = self.inputs[place]
        if tensor is None:
            raise self.refused(f"input {place} is missing")
        return tensor

    def constant(self, place: int) -> np.ndarray:
        """The values of an input, which must be a constant."""
        data = self.input(place).data
        if data is None:
            raise self.refused(f"input {place} is no constant")
        return data

    def optional(self, place: int) -> Tensor | None:
        """An input, or None where it is absent."""
        return self.inputs[place] if place < len(self.inputs) else None

    def refused(self, reason: str) -> ConversionError:
        """The error for an operator that C sources cannot express."""
        where = f"layer `{self.layer}`" if self.layer else "the model"
        return ConversionError(
            f"{where} needs the operator {self.name}, which `target='c'` cannot express: {reason}. "
            "Replace the layer or its activation, or take `target='cpu'` and run the file by LiteRT"
        )


@dataclass(frozen=True)
class Graph:
    """The step of a file: its operators in order, and its tensors by their names outside."""

    operators: list[Operator]
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: schema.ModelT, layers: LayerTable) -> "Graph":
        """The graph of a parsed file's main signature."""
        signature, graph = flatbuffer.main_signature(model), flatbuffer.main_graph(model)
        tensors = [_tensor(model, n, tensor) for n, tensor in enumerate(graph.tensors)]
        operators = [
            Operator(
                flatbuffer.operator_name(model, operator),
                tuple(None if n < 0 else tensors[n] for n in operator.inputs),
                tuple(tensors[n] for n in operator.outputs),
                dict(vars(operator.builtinOptions)) if operator.builtinOptions else {},
                layers.layer(graph, operator),
            )
            for operator in graph.operators
        ]
        sides = (
            {entry.name.decode(): tensors[entry.tensorIndex] for entry in entries}
            for entries in (signature.inputs, signature.outputs)
        )
        return cls(operators, *sides)


def _tensor(model: schema.ModelT, index: int, tensor: schema.TensorT) -> Tensor:
    dtype, shape = flatbuffer.type_name(tensor), tuple(int(n) for n in tensor.shape)
    quantization, scales, zero_point = tensor.quantization, np.zeros(0, np.float32), 0
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        scales = np.asarray(quantization.scale, np.float32)
        zero_point = int(quantization.zeroPoint[0])
    data = None
    if flatbuffer.is_constant(model, tensor):
        content = bytes(model.buffers[tensor.buffer].data)
        data = _unpacked(content, shape) if dtype == "int4" else np.frombuffer(content, dtype)
        data = data.reshape(shape)
    bits = 4 if dtype == "int4" else 8
    stored = "int8" if dtype == "int4" else dtype
    return Tensor(index, shape, stored, scales, zero_point, data, bits)


def _unpacked(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Two numbers of four bits from each byte, the lower half first."""
    pairs = np.frombuffer(content, np.int8)
    low, high = np.left_shift(pairs, 4) >> 4, pairs >> 4
    return np.stack([low, high], -1).ravel()[: int(np.prod(shape))]
