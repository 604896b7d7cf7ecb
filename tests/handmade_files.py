"""`.tflite` files of a few operators written out by hand, and what the interpreter computes."""

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from kgated.deploy.tflite import flatbuffer

PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # no XNNPACK: the kernels themselves
_DEFAULTS = {"ADD": {}, "SUB": {}, "MUL": {}, "CONCATENATION": {"axis": 1}}
# The first that take int16.
_VERSIONS = {"ADD": 5, "SUB": 5, "MUL": 5, "LOGISTIC": 3, "TANH": 3}
_VERSIONS |= {"FULLY_CONNECTED": 7, "CONV_2D": 7}
_KINDS = dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN"), "Reducer")
_KINDS |= {"BATCH_MATMUL": "BatchMatMul", "L2_NORMALIZATION": "L2Norm", "PADV2": "PadV2"}


@dataclass(frozen=True)
class Tensor:
    """A tensor by its shape and dtype; with a scale a quantized one, with data a constant.

    A scale is a number, or one for each index of the first axis.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float | np.ndarray | None = None
    zero_point: int = 0
    data: np.ndarray | None = None


def model(tensors, operators, inputs, outputs):
    """A model of one subgraph and its signature `step`, as objects of the schema.

    Args:
        tensors: `Tensor` by name; the signature's names are their last parts, after a "/".
        operators: (name, names of its inputs, names of its outputs), perhaps with its options.
        inputs: names of tensors.
        outputs: names of tensors.
    """
    parsed = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[], metadata=[])
    index = {name: n for n, name in enumerate(tensors)}
    graph = schema.SubGraphT(
        tensors=[_tensor(parsed, name, tensor) for name, tensor in tensors.items()],
        operators=[_operator(parsed, index, *operator) for operator in operators],
        inputs=[index[name] for name in inputs],
        outputs=[index[name] for name in outputs],
    )
    parsed.subgraphs = [graph]
    ends = [[_entry(name, index) for name in names] for names in (inputs, outputs)]
    parsed.signatureDefs = [
        schema.SignatureDefT(signatureKey=b"step", subgraphIndex=0, inputs=ends[0], outputs=ends[1])
    ]
    return parsed


def file(tensors, operators, inputs, outputs):
    """The bytes of `model`."""
    return flatbuffer.pack(model(tensors, operators, inputs, outputs))


def run(content, **arrays):
    """The outputs of a file by name, each as its kernel gives it."""
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=PLAIN
    )
    return interpreter.get_signature_runner()(**arrays)


def run_operator(name, arrays, scales, shape, scale, **options):
    """What the kernel of operator `name` makes of int16 `arrays[0]`, in integers.

    The other arrays are constants, but for those of int16. `scales` has one scale per array, a
    vector where it has one per channel; `shape` and `scale` are the result's.
    """
    sources = {f"x{n}": array for n, array in enumerate(arrays)}
    inputs = {key: x for key, x in sources.items() if x.dtype == np.int16}
    tensors = {
        key: Tensor(x.shape, x.dtype.name, size, data=None if key in inputs else x)
        for (key, x), size in zip(sources.items(), scales, strict=True)
    }
    tensors["y"] = Tensor(shape, "int16", scale)
    operator = (name, list(sources), ["y"], *([options] if options else []))
    return run(file(tensors, [operator], list(inputs), ["y"]), **inputs)["y"].astype(np.int64)


def _entry(name, index):
    return schema.TensorMapT(name=name.split("/")[-1].encode(), tensorIndex=index[name])


def _tensor(parsed, name, tensor):
    buffer = 0
    if tensor.data is not None:
        parsed.buffers.append(schema.BufferT(data=np.frombuffer(tensor.data.tobytes(), np.uint8)))
        buffer = len(parsed.buffers) - 1
    quantization = None
    if tensor.scale is not None:
        scales = np.atleast_1d(np.asarray(tensor.scale, np.float32))
        quantization = schema.QuantizationParametersT(
            scale=scales, zeroPoint=np.full(scales.shape, tensor.zero_point, np.int64)
        )
    return schema.TensorT(
        name=name.encode(),
        shape=np.array(tensor.shape, np.int32),
        type=getattr(schema.TensorType, tensor.dtype.upper()),
        buffer=buffer,
        quantization=quantization,
    )


def _operator(parsed, index, kind, inputs, outputs, options=None):
    code = flatbuffer.code_index(parsed, getattr(schema.BuiltinOperator, kind))
    parsed.operatorCodes[code].version = _VERSIONS.get(kind, 1)
    operator = schema.OperatorT(
        opcodeIndex=code,
        inputs=np.array([index[name] for name in inputs], np.int32),
        outputs=np.array([index[name] for name in outputs], np.int32),
    )
    options = _DEFAULTS.get(kind) if options is None else options
    if options is not None:
        name = f"{_KINDS.get(kind, kind.title().replace('_', ''))}Options"  # as Conv2DOptions
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = getattr(schema, f"{name}T")(**options)
    return operator
