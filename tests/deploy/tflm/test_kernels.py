"""The table of types per operator against what TensorFlow Lite Micro says when it runs."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflm.kernels import TYPES

TYPE_NAMES = ("float32", "int8", "int16", "int32", "bool")
SAME_TYPE = "ABS MINIMUM MAXIMUM ADD MUL SUB RELU LOGISTIC TANH RSQRT SQRT LOGICAL_NOT FLOOR NEG"
COMPARISONS = "EQUAL NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL"
BINARY = {"MINIMUM", "MAXIMUM", "ADD", "MUL", "SUB", *COMPARISONS.split()}
OPTIONS = {"ADD": "Add", "MUL": "Mul", "SUB": "Sub", "CONCATENATION": "Concatenation"}
SCALES = {"LOGISTIC": {"int8": (1 / 256, -128)}, "TANH": {"int8": (1 / 128, 0)}}


def one_operator(name, kind):
    """A file of one operator on tensors (1, 4) of one type."""
    model = schema.ModelT(version=3, buffers=[schema.BufferT()], operatorCodes=[])
    graph = schema.SubGraphT(tensors=[], name=b"main")
    first = ["bool", kind, kind] if name == "SELECT_V2" else [kind]
    inputs = first * 2 if name in {*BINARY, "CONCATENATION"} else first
    result = "bool" if name in COMPARISONS.split() else kind
    for index, dtype in enumerate([*inputs, result]):
        is_output = index == len(inputs)
        scale, zero = SCALES.get(name, {}).get(dtype, (2**-15, 0)) if is_output else (2**-15, 0)
        shape = [1, 8] if is_output and name == "CONCATENATION" else [1, 4]
        quantized = dtype in ("int8", "int16")
        parameters = schema.QuantizationParametersT(
            scale=np.float32([scale]), zeroPoint=np.int64([zero])
        )
        tensor = schema.TensorT(
            name=f"t{index}".encode(),
            shape=np.int32(shape),
            type=getattr(schema.TensorType, dtype.upper()),
            buffer=0,
            quantization=parameters if quantized else None,
        )
        graph.tensors.append(tensor)
    graph.inputs, graph.outputs = list(range(len(inputs))), [len(inputs)]
    operator = schema.OperatorT(inputs=graph.inputs, outputs=graph.outputs)
    operator.opcodeIndex = flatbuffer.code_index(model, getattr(schema.BuiltinOperator, name))
    if name in OPTIONS:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{OPTIONS[name]}Options")
        operator.builtinOptions = getattr(schema, f"{OPTIONS[name]}OptionsT")()
    if name == "CONCATENATION":
        operator.builtinOptions.axis = 1
    graph.operators, model.subgraphs = [operator], [graph]
    return flatbuffer.pack(model)


def runs(content):
    """Whether the runtime computes the operator of ones."""
    from tflite_micro.python.tflite_micro import runtime

    graph = flatbuffer.parse(content).subgraphs[0]
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=20_000)
        for n in graph.inputs:
            interpreter.set_input(np.ones((1, 4), flatbuffer.type_name(graph.tensors[n])), n)
        interpreter.invoke()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("kind", TYPE_NAMES)
@pytest.mark.parametrize("name", [*f"{SAME_TYPE} {COMPARISONS} SELECT_V2 CONCATENATION".split()])
def test_the_runtime_takes_the_types_in_the_table(name, kind):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: table NOT checked")
    assert runs(one_operator(name, kind)) == (kind in TYPES[name])
