"""A `.tflite` file as objects: parsed, looked at by name, packed again."""

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Part = TypeVar("Part")
_DATA_ALIGNMENT = 16
_SIZE_WITHOUT_WEIGHTS = 65_536  # of a small model; the builder doubles it where need be
_NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
_TYPES = {code: name for name, code in vars(schema.TensorType).items() if name.isupper()}


def parse(tflite: bytes) -> schema.ModelT:
    """The file as objects of the schema, to look at and to change.

    Weights that lie behind the FlatBuffer, where the quantizer puts 256 KiB of them and more, come
    in as those inside it do.
    """
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite))
    for buffer in model.buffers or []:
        if buffer.offset > 1:
            if buffer.offset + buffer.size > len(tflite):
                raise ValueError("the file is cut short: its weights are not all there")
            buffer.data = tflite[buffer.offset : buffer.offset + buffer.size]
            buffer.offset = buffer.size = 0
    return model


def pack(model: schema.ModelT) -> bytes:
    """The objects as a file, all weights inside; the objects stay as they are."""
    _use_arrays(model)
    aligned = copy.copy(model)
    aligned.buffers = [_AlignedBuffer(buffer) for buffer in model.buffers]
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = _SharingBuilder(size + _SIZE_WITHOUT_WEIGHTS)
    builder.Finish(aligned.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def clone(part: Part) -> Part:
    """The same objects anew, to be changed apart from these; both share the weights' bytes.

    Args:
        part: a file, or something in it.
    """
    copied: Part = _clone(part)
    return copied


def _clone(value: Any) -> Any:
    if isinstance(value, list):
        return [_clone(item) for item in value]
    if isinstance(value, schema.BufferT):
        return copy.copy(value)
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "__dict__"):
        clone = copy.copy(value)
        vars(clone).update({name: _clone(field) for name, field in vars(value).items()})
        return clone
    return value


def _use_arrays(model: schema.ModelT) -> None:
    """Turn lists of numbers into arrays, which the builder writes once where they are equal."""
    for graph in model.subgraphs:
        _set_arrays(graph, np.int32, "inputs", "outputs")
        for operator in graph.operators:
            _set_arrays(operator, np.int32, "inputs", "outputs", "intermediates")
        for tensor in graph.tensors:
            _set_arrays(tensor, np.int32, "shape", "shapeSignature")
            if tensor.quantization is not None:
                _set_arrays(tensor.quantization, np.float32, "scale")
                _set_arrays(tensor.quantization, np.int64, "zeroPoint")


def _set_arrays(owner: Any, dtype: type[np.generic], *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            setattr(owner, name, np.asarray(value, dtype))


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """The name of an operator, such as "FULLY_CONNECTED"; that of a custom operator is its own."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return str(code.customCode.decode())
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def type_name(tensor: schema.TensorT) -> str:
    """A tensor's dtype as NumPy spells it, as in "float32"."""
    return _TYPES[tensor.type].lower()


def tensor_name(tensor: schema.TensorT) -> str:
    """A tensor's name, empty where it has none."""
    return tensor.name.decode() if tensor.name else ""


def scale_and_zero_point(tensor: schema.TensorT) -> tuple[float, int] | None:
    """Scale and zero point of a tensor quantized per tensor; None for any other."""
    parameters = tensor.quantization
    if parameters is None or parameters.scale is None or len(parameters.scale) != 1:
        return None
    return float(parameters.scale[0]), int(parameters.zeroPoint[0])


def main_signature(model: schema.ModelT) -> schema.SignatureDefT:
    """The signature that computes, and not the one that resets the state."""
    return next(entry for entry in model.signatureDefs if entry.signatureKey != b"reset")


def main_graph(model: schema.ModelT) -> schema.SubGraphT:
    """The subgraph that the main signature runs."""
    return model.subgraphs[main_signature(model).subgraphIndex]


def has_operator(model: schema.ModelT, name: str) -> bool:
    """Whether an operator of that name is anywhere in the file."""
    return any(operator_name(model, operator) == name for _, operator in operators(model))


def is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """Whether a tensor's numbers stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def signature(model: schema.ModelT) -> tuple[dict[str, schema.TensorT], dict[str, schema.TensorT]]:
    """Inputs and outputs of the file's main signature, by name."""
    first = main_signature(model)
    tensors = model.subgraphs[first.subgraphIndex].tensors
    inputs, outputs = (
        {entry.name.decode(): tensors[entry.tensorIndex] for entry in entries}
        for entries in (first.inputs, first.outputs)
    )
    return inputs, outputs


def operators(model: schema.ModelT) -> Iterator[tuple[schema.SubGraphT, schema.OperatorT]]:
    """Every operator, with the subgraph that it stands in."""
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            yield subgraph, operator


def add_tensor(
    subgraph: schema.SubGraphT,
    like: int,
    suffix: str,
    shape: tuple[int, ...],
    kind: int,
    buffer: int = 0,
) -> int:
    """Add a tensor, its name made from that of the tensor `like`; returns its index."""
    name = f"{tensor_name(subgraph.tensors[like])}_{suffix}"
    subgraph.tensors.append(
        schema.TensorT(
            name=name.encode(), shape=np.array(shape, np.int32), type=kind, buffer=buffer
        )
    )
    return len(subgraph.tensors) - 1


def add_constant(
    model: schema.ModelT, subgraph: schema.SubGraphT, like: int, suffix: str, values: np.ndarray
) -> int:
    """Add a constant tensor of the values' shape and dtype, named as by `add_tensor`."""
    kind = getattr(schema.TensorType, values.dtype.name.upper())
    return add_tensor(subgraph, like, suffix, values.shape, kind, add_buffer(model, values))


def add_buffer(model: schema.ModelT, data: np.ndarray | bytes) -> int:
    """Add a buffer with the bytes of an array, or bytes as they are; returns its index."""
    content = data if isinstance(data, bytes) else data.tobytes()
    model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
    return len(model.buffers) - 1


def code_index(model: schema.ModelT, builtin: int) -> int:
    """The index of an operator's code in the file, which gets it where it has none."""
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
            return index
    model.operatorCodes.append(operator_code(builtin))
    return len(model.operatorCodes) - 1


def operator_code(builtin: int, version: int = 1) -> schema.OperatorCodeT:
    """The entry of the file's table of operators for a builtin one."""
    return schema.OperatorCodeT(
        builtinCode=builtin, deprecatedBuiltinCode=min(builtin, 127), version=version
    )


def reshape(
    model: schema.ModelT, subgraph: schema.SubGraphT, source: int, target: int
) -> schema.OperatorT:
    """A RESHAPE from one tensor to another; the caller puts it among the operators."""
    shape = np.array(subgraph.tensors[target].shape, np.int32)
    constant = add_constant(model, subgraph, target, "shape", shape)
    return schema.OperatorT(
        opcodeIndex=code_index(model, schema.BuiltinOperator.RESHAPE),
        inputs=[source, constant],
        outputs=[target],
    )


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal names and equal vectors, such as shapes, once."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateString(self, text: str | bytes, *options: str) -> int:  # noqa: N802
        data = text.encode() if isinstance(text, str) else bytes(text)
        key = "string", data
        if key not in self._written:
            self._written[key] = super().CreateString(text, *options)
        return self._written[key]

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        key = x.dtype.str, x.tobytes()
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


class _AlignedBuffer(schema.BufferT):
    """A buffer whose data starts at a multiple of 16 bytes.

    The schema demands that (`force_align: 16`); the generated Python writer leaves it out, and
    kernels that load whole vectors then read unaligned weights.
    """

    def __init__(self, buffer: schema.BufferT) -> None:
        super().__init__(None if buffer.data is None else bytes(buffer.data))

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 - the schema's own name
        data = None if self.data is None else self._pack_data(builder)
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))

    def _pack_data(self, builder: flatbuffers.Builder) -> int:
        size = len(self.data)
        builder.StartVector(1, size, _DATA_ALIGNMENT)
        builder.head -= size
        builder.Bytes[builder.head : builder.head + size] = self.data
        return int(builder.EndVector())
