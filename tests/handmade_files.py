"""`.tflite` files of a few operators written out by hand, and what the interpreter computes."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from kgated.deploy.tflite import flatbuffer

PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # no XNNPACK: the kernels themselves
_OPTIONS = {"ADD": {}, "SUB": {}, "CONCATENATION": {"axis": 1}}
_VERSIONS = {"SUB": 5, "ADD": 5}  # the first that take int16


@dataclass(frozen=True)
class Tensor:
    """A tensor by its shape and dtype; with a scale a quantized one, with data a constant."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float | None = None
    zero_point: int = 0
    data: np.ndarray | None = None


def model(tensors, operators, inputs, outputs):
    """A model of one subgraph and its signature `step`, as objects of the schema.

    Args:
        tensors: `Tensor` by name; the signature's names are their last parts, after a "/".
        operators: (name, names of its inputs, names of its outputs).
        inputs: names of tensors.
        outputs: names of tensors.
    """
    made = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[], metadata=[])
    index = {name: n for n, name in enumerate(tensors)}
    graph = schema.SubGraphT(
        tensors=[_tensor(made, name, tensor) for name, tensor in tensors.items()],
        operators=[_operator(made, index, *operator) for operator in operators],
        inputs=[index[name] for name in inputs],
        outputs=[index[name] for name in outputs],
    )
    made.subgraphs = [graph]
    ends = [[_entry(name, index) for name in names] for names in (inputs, outputs)]
    made.signatureDefs = [
        schema.SignatureDefT(signatureKey=b"step", subgraphIndex=0, inputs=ends[0], outputs=ends[1])
    ]
    return made


def file(tensors, operators, inputs, outputs):
    """The bytes of `model`."""
    return flatbuffer.pack(model(tensors, operators, inputs, outputs))


def run(content, **arrays):
    """The outputs of a file by name, each as its kernel gives it."""
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=PLAIN
    )
    return interpreter.get_signature_runner()(**arrays)


def _entry(name, index):
    return schema.TensorMapT(name=name.split("/")[-1].encode(), tensorIndex=index[name])


def _tensor(made, name, tensor):
    buffer = 0
    if tensor.data is not None:
        made.buffers.append(schema.BufferT(data=np.frombuffer(tensor.data.tobytes(), np.uint8)))
        buffer = len(made.buffers) - 1
    quantization = None
    if tensor.scale is not None:
        quantization = schema.QuantizationParametersT(
            scale=np.array([tensor.scale], np.float32),
            zeroPoint=np.array([tensor.zero_point], np.int64),
        )
    return schema.TensorT(
        name=name.encode(),
        shape=np.array(tensor.shape, np.int32),
        type=getattr(schema.TensorType, tensor.dtype.upper()),
        buffer=buffer,
        quantization=quantization,
    )


def _operator(made, index, kind, inputs, outputs):
    code = flatbuffer.code_index(made, getattr(schema.BuiltinOperator, kind))
    made.operatorCodes[code].version = _VERSIONS.get(kind, 1)
    operator = schema.OperatorT(
        opcodeIndex=code,
        inputs=np.array([index[name] for name in inputs], np.int32),
        outputs=np.array([index[name] for name in outputs], np.int32),
    )
    if kind in _OPTIONS:
        name = f"{kind.capitalize()}Options"
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = getattr(schema, f"{name}T")(**_OPTIONS[kind])
    return operator
