"""The numbers of a file's constants, whatever type they are stored in."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer

_FLOATS = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}
_INTEGERS = {
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}
_HALF_PRECISION = 2.0**-10  # a step of float16, relative to the number


@dataclass(frozen=True)
class Constant:
    """The numbers of a constant.

    Attributes:
        values: in floating point, float64.
        step: the distance between two numbers that its type can hold, of a shape that broadcasts
            to that of the values.
        integers: what is stored; None where that is floating point.
        bits: of a stored number.
        scale: one, or one for each channel; None where floating point is stored.
    """

    values: np.ndarray
    step: np.ndarray
    integers: np.ndarray | None = None
    bits: int = 32
    scale: np.ndarray | None = None

    @property
    def saturated(self) -> np.ndarray:
        """-1 and 1 where a number is the smallest and the largest of its type, else 0."""
        if self.integers is None:
            return np.zeros(self.values.shape, np.int8)
        limit = 2 ** (self.bits - 1) - 1
        return (self.integers >= limit).astype(np.int8) - (self.integers <= -limit)


class Constants:
    """The constants of one subgraph.

    Args:
        model: the file.
        graph: one of its subgraphs.
    """

    def __init__(self, model: schema.ModelT, graph: schema.SubGraphT) -> None:
        self._model, self._graph = model, graph
        casts = (o for o in graph.operators if _is_cast(model, o))
        self._sources = {int(o.outputs[0]): int(o.inputs[0]) for o in casts}

    def read(self, n: int) -> Constant | None:
        """Tensor n, also where DEQUANTIZE or QUANTIZE stands between; None for no number."""
        while n in self._sources:
            n = self._sources[n]
        if n < 0 or not flatbuffer.is_constant(self._model, self._graph.tensors[n]):
            return None
        tensor = self._graph.tensors[n]
        data = bytes(self._model.buffers[tensor.buffer].data)
        if tensor.type in _FLOATS:
            return _floats(tensor, data)
        parameters = tensor.quantization
        if parameters is None or parameters.scale is None or not len(parameters.scale):
            return None
        return _dequantized(tensor, data)


def _is_cast(model: schema.ModelT, operator: schema.OperatorT) -> bool:
    return flatbuffer.operator_name(model, operator) in ("DEQUANTIZE", "QUANTIZE")


def _floats(tensor: schema.TensorT, data: bytes) -> Constant:
    stored = np.frombuffer(data, _FLOATS[tensor.type]).reshape(_shape(tensor))
    values = stored.astype(np.float64)
    half = tensor.type == schema.TensorType.FLOAT16
    step = np.maximum(np.abs(values) * _HALF_PRECISION, 2.0**-24) if half else np.zeros(())
    return Constant(values, step, bits=16 if half else 32)


def _dequantized(tensor: schema.TensorT, data: bytes) -> Constant:
    integers, bits = _integers(tensor, data)
    parameters, shape = tensor.quantization, _shape(tensor)
    scale = np.asarray(parameters.scale, np.float64)
    zero = np.zeros(1) if parameters.zeroPoint is None else np.asarray(parameters.zeroPoint)
    per_channel = [1] * len(shape)
    if len(scale) > 1:
        per_channel[parameters.quantizedDimension] = -1
    step = scale.reshape(per_channel)
    values = (integers - (zero.reshape(per_channel) if len(zero) > 1 else zero[0])) * step
    return Constant(values, step, integers, bits, scale)


def _integers(tensor: schema.TensorT, data: bytes) -> tuple[np.ndarray, int]:
    shape = _shape(tensor)
    if tensor.type == schema.TensorType.INT4:  # two in a byte, the lower one first
        pairs = np.frombuffer(data, np.uint8)
        nibbles = np.stack([pairs & 15, pairs >> 4], axis=-1).ravel().astype(np.int8)
        signed = np.where(nibbles > 7, nibbles - 16, nibbles)
        return signed[: int(np.prod(shape))].astype(np.int64).reshape(shape), 4
    kind = np.dtype(_INTEGERS[tensor.type])
    return np.frombuffer(data, kind).astype(np.int64).reshape(shape), 8 * kind.itemsize


def _shape(tensor: schema.TensorT) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(map(int, tensor.shape))
