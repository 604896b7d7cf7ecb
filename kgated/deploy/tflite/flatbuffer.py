"""A `.tflite` file as objects: parsed, looked at by name, packed again."""

from collections.abc import Iterator

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_DATA_ALIGNMENT = 16
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


def pack(model: schema.ModelT, size: int = 1024) -> bytes:
    """The objects as a file, all weights inside; `size` is a guess at its bytes."""
    model.buffers = [_AlignedBuffer(buffer) for buffer in model.buffers]
    builder = _SharingBuilder(size)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_name(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """What an operator computes, as in "FULLY_CONNECTED"; a custom one has its own name."""
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
    """Of a tensor quantized as a whole; None for any other."""
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) != 1:
        return None
    return float(found.scale[0]), int(found.zeroPoint[0])


def main_signature(model: schema.ModelT) -> schema.SignatureDefT:
    """The signature that computes, and not the one that resets the state."""
    return next(one for one in model.signatureDefs if one.signatureKey != b"reset")


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
    """Put in a tensor named after another one, for its layer's name; returns its index."""
    name = f"{tensor_name(subgraph.tensors[like])}_{suffix}"
    subgraph.tensors.append(
        schema.TensorT(
            name=name.encode(), shape=np.array(shape, np.int32), type=kind, buffer=buffer
        )
    )
    return len(subgraph.tensors) - 1


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
    """The operator that gives a tensor the shape of another, to be put among the operators."""
    shape = np.array(subgraph.tensors[target].shape, np.int32)
    model.buffers.append(schema.BufferT(data=shape.view(np.uint8)))
    int32, buffer = schema.TensorType.INT32, len(model.buffers) - 1
    constant = add_tensor(subgraph, target, "shape", shape.shape, int32, buffer)
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
