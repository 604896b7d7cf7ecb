"""Integers in place of a fused LSTM operator's weights, by the kernel's own rules."""

from collections.abc import Collection

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.cleanup import drop_unused
from kgated.deploy.tflite.flatbuffer import operator_code, pack, parse, tensor_name
from kgated.deploy.tflite.layer_names import scope
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
    """A subgraph of a file, to read and to change."""

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT) -> None:
        self.model, self.graph = model, graph
        self.tensors: list[schema.TensorT] = graph.tensors
        for operator in graph.operators:
            operator.inputs = np.array(operator.inputs, np.int32)  # the reader's are not to change

    def code(self, operator: schema.OperatorT) -> int:
        """Which builtin an operator is."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return int(max(code.builtinCode, code.deprecatedBuiltinCode))

    def fused(self, skip: Collection[str] = ()) -> list[schema.OperatorT]:
        """The fused LSTM operators in the order they run, but for those of the layers in `skip`."""
        found = [one for one in self.graph.operators if self.code(one) == LSTM_CODE]
        return [one for one in found if self.layer(one) not in map(scope, skip)]

    def name(self, operator: schema.OperatorT) -> str:
        """A name for a fused LSTM operator that no other has: the layer's, a stroke, and more."""
        return tensor_name(self.tensors[operator.inputs[C_STATE]])

    def layer(self, operator: schema.OperatorT) -> str:
        """The layer that a fused LSTM operator was, by the name of its scope."""
        return layer_of(self.name(operator))

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
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data))
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, like: int, kind: int, scale: float) -> int:
        """The float constant `like` as integers of `scale`, zero point 0; returns its index."""
        limit = np.iinfo(DTYPES[kind])
        whole = np.rint(self.values(like).astype(np.float64) / scale)
        data = np.clip(whole, -limit.max, limit.max).astype(DTYPES[kind]).tobytes()
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
        made = schema.OperatorT(
            opcodeIndex=self.add_code(code, VERSIONS[code]),
            inputs=np.array([source], np.int32),
            outputs=np.array([target], np.int32),
        )
        operators = self.graph.operators
        place = next(n for n, one in enumerate(operators) if one is beside)
        operators.insert(place + after, made)

    def scale(self, index: int) -> float:
        """A quantized tensor's scale."""
        return float(self.tensors[index].quantization.scale[0])


def layer_of(name: str) -> str:
    """The layer in the name of a fused LSTM operator."""
    return name.split("/")[0]


def quantization(scale: float, zero_point: int = 0) -> schema.QuantizationParametersT:
    """One scale and zero point for a whole tensor."""
    return schema.QuantizationParametersT(scale=[scale], zeroPoint=[zero_point])


def write_hybrid(tflite: bytes, skip: Collection[str] = ()) -> bytes:
    """Int8 weights for every fused LSTM of a float file; its arithmetic at the seams stays float.

    Biases and the gains of layer normalization stay float, as the kernel wants them; the layers in
    `skip` stay float altogether.
    """
    if not has_fused(tflite):
        return tflite
    model = parse(tflite)
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph)
        for operator in graph.fused(skip):
            for slot in [*MATRICES, *PEEPHOLES, PROJECTION]:
                if operator.inputs[slot] >= 0:
                    operator.inputs[slot] = graph.symmetric(operator.inputs[slot], INT8)
            operator.builtinOptions.asymmetricQuantizeInputs = True
            model.operatorCodes[operator.opcodeIndex].version = HYBRID_VERSION
    drop_unused(model)
    return pack(model, len(tflite))


def write_half(tflite: bytes, skip: Collection[str] = ()) -> bytes:
    """Float16 weights for every fused LSTM of a float file, widened before the operator."""
    if not has_fused(tflite):
        return tflite
    model = parse(tflite)
    for subgraph in model.subgraphs:
        graph = Graph(model, subgraph)
        for operator in graph.fused(skip):
            for slot in [*MATRICES, PROJECTION]:
                if operator.inputs[slot] >= 0:
                    operator.inputs[slot] = _widened(graph, operator, operator.inputs[slot])
    drop_unused(model)
    return pack(model, len(tflite))


def _widened(graph: Graph, operator: schema.OperatorT, weight: int) -> int:
    """A float32 tensor made from a float16 copy of a constant."""
    old, kind = graph.tensors[weight], schema.TensorType.FLOAT16
    half = schema.TensorT(name=old.name, shape=old.shape, type=kind)
    source = graph.add(half, graph.values(weight).astype(np.float16).tobytes())
    target = graph.add(schema.TensorT(name=old.name, shape=old.shape))
    graph.insert(operator, schema.BuiltinOperator.DEQUANTIZE, source, target)
    return target


def has_fused(tflite: bytes) -> bool:
    """Whether a file holds a fused LSTM."""
    model = parse(tflite)
    return any(Graph(model, subgraph).fused() for subgraph in model.subgraphs)
