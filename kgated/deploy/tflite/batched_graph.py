"""A subgraph on its way from one stream to B streams, as `batch_rules` changes it."""

import copy
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.flatbuffer import add_buffer, is_constant, reshape

_INDEX_TYPES = {schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64}
_NOT_CONSTANT = "takes a shape or a place that is computed"


class BatchError(Exception):
    """An operator can't take streams side by side; the text says what it does."""


@dataclass
class BatchedGraph:
    """A copy of a subgraph in which tensors get room for `batch` streams.

    Rule of all tensors: the values of B streams are those of each stream, one after the other. So
    the first axis is B times as long.

    Attributes:
        model: the file, which gets buffers for shapes; weights keep theirs.
        graph: the copy.
        batch: B.
        streams: the tensors that hold values of each stream; all others are as in the original.
    """

    model: schema.ModelT
    graph: schema.SubGraphT
    batch: int
    streams: set[int] = field(default_factory=set)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor for one stream."""
        stored = self.graph.tensors[tensor].shape
        shape = () if stored is None else tuple(map(int, stored))
        return (shape[0] // self.batch, *shape[1:]) if tensor in self.streams else shape

    def widen(self, tensor: int) -> None:
        """Give a tensor room for every stream; `BatchError` for a scalar."""
        shape = self.shape(tensor)
        if not shape:
            raise BatchError("makes one number of all values")
        self.graph.tensors[tensor].shape = self._with_all_streams(shape)
        self.graph.tensors[tensor].shapeSignature = None
        self.streams.add(tensor)

    def is_stored(self, tensor: int) -> bool:
        """Whether a tensor is a constant that stands in the file."""
        return is_constant(self.model, self.graph.tensors[tensor])

    def is_int16(self, operator: schema.OperatorT) -> bool:
        """Whether an operator writes int16."""
        kind = self.graph.tensors[int(operator.outputs[0])].type
        return bool(kind == schema.TensorType.INT16)

    def integers(self, tensor: int) -> np.ndarray:
        """The values of a constant of integers, such as a shape or an axis.

        Raises:
            BatchError: they are computed.
        """
        stored = self.graph.tensors[tensor]
        if not self.is_stored(tensor) or stored.type not in _INDEX_TYPES:
            raise BatchError(_NOT_CONSTANT)
        data = bytes(self.model.buffers[stored.buffer].data)
        return np.frombuffer(data, _INDEX_TYPES[stored.type]).reshape(self.shape(tensor))

    def set_integers(self, operator: schema.OperatorT, place: int, values: np.ndarray) -> None:
        """Give an operator another constant of integers, in a buffer of its own."""
        tensor = copy.copy(self.graph.tensors[operator.inputs[place]])
        tensor.buffer = add_buffer(self.model, values)
        self._use(operator, place, tensor)

    def repeat(self, operator: schema.OperatorT, place: int) -> None:
        """Give an operator its constant once for each stream; `BatchError` where it is computed."""
        index = int(operator.inputs[place])
        tensor, shape = copy.copy(self.graph.tensors[index]), self.shape(index)
        if not self.is_stored(index) or not shape or (np.prod(shape) % 2 and _is_packed(tensor)):
            raise BatchError("joins values of a stream with computed ones")
        content = bytes(self.model.buffers[tensor.buffer].data) * self.batch
        tensor.buffer, tensor.shape = add_buffer(self.model, content), self._with_all_streams(shape)
        self._use(operator, place, tensor)

    def reshape_input(self, operator: schema.OperatorT, place: int, shape: tuple[int, ...]) -> None:
        """Put a RESHAPE before an operator; `shape` is that for one stream."""
        source = int(operator.inputs[place])
        tensor = copy.copy(self.graph.tensors[source])
        tensor.shape = self._with_all_streams(shape)
        self._use(operator, place, tensor)
        target = len(self.graph.tensors) - 1
        self.streams.add(target)
        before = self.graph.operators.index(operator)
        self.graph.operators.insert(before, reshape(self.model, self.graph, source, target))

    def _with_all_streams(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array([shape[0] * self.batch, *shape[1:]], np.int32)

    def _use(self, operator: schema.OperatorT, place: int, tensor: schema.TensorT) -> None:
        self.graph.tensors.append(tensor)
        operator.inputs = np.array(operator.inputs, np.int32)
        operator.inputs[place] = len(self.graph.tensors) - 1


def _is_packed(tensor: schema.TensorT) -> bool:
    return bool(tensor.type == schema.TensorType.INT4)
