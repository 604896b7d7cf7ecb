"""Integers in place of a fused LSTM operator's weights, by the kernel's own rules."""

from collections.abc import Collection

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.flatbuffer import add_buffer, has_operator, operator_code, tensor_name
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import LayerTable, scopes
from kgated.deploy.tflite.lstm_operator import C_STATE, LSTM_CODE, SLOTS

INT8, INT16, INT32 = schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.INT32
DTYPES: dict[int, type[np.signedinteger]] = {INT8: np.int8, INT16: np.int16, INT32: np.int32}
MATRICES = [slot for (kind, _), slot in SLOTS.items() if kind in ("input", "recurrent")]
PEEPHOLES = [slot for (kind, _), slot in SLOTS.items() if kind == "peephole"]
PROJECTION = SLOTS["projection", "h"]
# The first versions of these that know int16 and float16.
VERSIONS = {schema.BuiltinOperator.QUANTIZE: 2, schema.BuiltinOperator.DEQUANTIZE: 3}
HYBRID_VERSION = 3  # the first with inputs scaled around a zero point of their own


class Graph:
    """A subgraph of a file, to read and to change.

    Args:
        model: the file.
        graph: one of its subgraphs.
        layers: which layer each operator comes from.
    """

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT, layers: LayerTable) -> None:
        self.model, self.graph, self._layers = model, graph, layers
        self.tensors: list[schema.TensorT] = graph.tensors
        for operator in graph.operators:
            operator.inputs = np.array(operator.inputs, np.int32)  # the reader's are not to change

    def code(self, operator: schema.OperatorT) -> int:
        """Which builtin an operator is."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def fused(self, skip: Collection[str] = ()) -> list[schema.OperatorT]:
        """The fused LSTM operators in the order they run, but for those of the layers in `skip`."""
        skipped = scopes(skip)
        operators = [operator for operator in self.graph.operators if self.is_fused(operator)]
        return [operator for operator in operators if self.layer(operator) not in skipped]

    def is_fused(self, operator: schema.OperatorT) -> bool:
        """Whether an operator is a fused LSTM."""
        return self.code(operator) == LSTM_CODE

    def name(self, operator: schema.OperatorT) -> str:
        """A name for a fused LSTM operator that no other has: that of its cell state."""
        return tensor_name(self.tensors[operator.inputs[C_STATE]])

    def layer(self, operator: schema.OperatorT) -> str | None:
        """The layer that an operator comes from."""
        return self._layers.layer(self.graph, operator)

    def add_code(self, builtin: int, version: int) -> int:
        """An entry of the table of operators for a builtin one; returns its index."""
        self.model.operatorCodes.append(operator_code(builtin, version))
        return len(self.model.operatorCodes) - 1

    def values(self, index: int) -> np.ndarray:
        """A float constant of the file."""
        tensor = self.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        return np.frombuffer(bytes(data), np.float32).reshape(tensor.shape)

    def add(self, tensor: schema.TensorT, data: bytes | None = None) -> int:
        """Append a tensor, a constant where there is data; returns its index."""
        if data is not None:
            tensor.buffer = add_buffer(self.model, data)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, like: int, kind: int, scale: float) -> int:
        """The float constant `like` as integers of `scale`, zero point 0; returns its index."""
        limit = np.iinfo(DTYPES[kind])
        integers = np.rint(self.values(like).astype(np.float64) / scale)
        data = np.clip(integers, -limit.max, limit.max).astype(DTYPES[kind]).tobytes()
        old = self.tensors[like]
        tensor = schema.TensorT(
            name=old.name, shape=old.shape, type=kind, quantization=quantization(scale)
        )
        return self.add(tensor, data)

    def symmetric(self, like: int, kind: int) -> int:
        """The same with the smallest scale that holds every value."""
        largest = float(np.abs(self.values(like)).max()) or 1.0
        return self.constant(like, kind, largest / np.iinfo(DTYPES[kind]).max)

    def insert(
        self, beside: schema.OperatorT, code: int, source: int, target: int, after: bool = False
    ) -> None:
        """An operator from one tensor to another, before or after the operator `beside`."""
        operator = schema.OperatorT(
            opcodeIndex=self.add_code(code, VERSIONS[code]),
            inputs=np.array([source], np.int32),
            outputs=np.array([target], np.int32),
        )
        operators = self.graph.operators
        operators.insert(operators.index(beside) + after, operator)

    def scale(self, index: int) -> float:
        """A quantized tensor's scale."""
        return float(self.tensors[index].quantization.scale[0])


def quantization(scale: float, zero_point: int = 0) -> schema.QuantizationParametersT:
    """One scale and zero point for a whole tensor."""
    return schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero_point])


def write_hybrid(model: schema.ModelT, layers: LayerTable, skip: Collection[str] = ()) -> None:
    """Write int8 weights into every fused LSTM of a float file; inputs and outputs stay float.

    Biases and the gains of layer normalization stay float, as the kernel wants them; the layers in
    `skip` stay float altogether.
    """
    if not has_fused(model):
        return
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph, layers)
        for operator in graph.fused(skip):
            for slot in [*MATRICES, *PEEPHOLES, PROJECTION]:
                if operator.inputs[slot] >= 0:
                    operator.inputs[slot] = graph.symmetric(operator.inputs[slot], INT8)
            operator.builtinOptions.asymmetricQuantizeInputs = True
            model.operatorCodes[operator.opcodeIndex].version = HYBRID_VERSION
    eliminate_dead_code(model)


def write_half(model: schema.ModelT, layers: LayerTable, skip: Collection[str] = ()) -> None:
    """Write float16 weights for every fused LSTM of a float file, cast to float32 before it."""
    if not has_fused(model):
        return
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph, layers)
        for operator in graph.fused(skip):
            for slot in [*MATRICES, PROJECTION]:
                if operator.inputs[slot] >= 0:
                    operator.inputs[slot] = _cast(graph, operator, operator.inputs[slot])
    eliminate_dead_code(model)


def _cast(graph: Graph, operator: schema.OperatorT, weight: int) -> int:
    """A float32 tensor made from a float16 copy of a constant."""
    old, kind = graph.tensors[weight], schema.TensorType.FLOAT16
    half = schema.TensorT(name=old.name, shape=old.shape, type=kind)
    source = graph.add(half, graph.values(weight).astype(np.float16).tobytes())
    target = graph.add(schema.TensorT(name=old.name, shape=old.shape))
    graph.insert(operator, schema.BuiltinOperator.DEQUANTIZE, source, target)
    return target


def has_fused(model: schema.ModelT) -> bool:
    """Whether a file holds a fused LSTM."""
    return has_operator(model, "UNIDIRECTIONAL_SEQUENCE_LSTM")


def fused_layers(file: FloatFile) -> set[str]:
    """The layers that are fused LSTMs in a file."""
    graphs = [Graph(file.model, graph, file.layers) for graph in file.model.subgraphs]
    layers = {graph.layer(operator) for graph in graphs for operator in graph.fused()}
    return {layer for layer in layers if layer is not None}
