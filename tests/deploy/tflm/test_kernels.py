"""The table of types per operator against what TensorFlow Lite Micro says when it runs."""

import numpy as np
import pytest
from handmade_files import Tensor, file

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflm.kernels import MAX_DIMENSIONS, TYPES
from kgated.deploy.tflm.operators import check_operators
from kgated.errors import ConversionError

TYPE_NAMES = ("float32", "int8", "int16", "int32", "bool")
SAME_TYPE = "ABS MINIMUM MAXIMUM ADD MUL SUB RELU LOGISTIC TANH RSQRT SQRT LOGICAL_NOT FLOOR NEG"
COMPARISONS = "EQUAL NOT_EQUAL LESS LESS_EQUAL GREATER GREATER_EQUAL"
BINARY = {"MINIMUM", "MAXIMUM", "ADD", "MUL", "SUB", *COMPARISONS.split()}
SCALES = {"LOGISTIC": {"int8": (1 / 256, -128)}, "TANH": {"int8": (1 / 128, 0)}}


def one_operator(name, kind):
    """A file of one operator on tensors (1, 4) of one type."""
    first = ["bool", kind, kind] if name == "SELECT_V2" else [kind]
    inputs = first * 2 if name in {*BINARY, "CONCATENATION"} else first
    result = "bool" if name in COMPARISONS.split() else kind
    tensors = {f"x{n}": tensor((1, 4), dtype) for n, dtype in enumerate(inputs)}
    names, scale = list(tensors), SCALES.get(name, {}).get(result, (2**-15, 0))
    tensors["y"] = tensor((1, 8) if name == "CONCATENATION" else (1, 4), result, *scale)
    return file(tensors, [(name, names, ["y"])], names, ["y"])


def tensor(shape, dtype, scale=2**-15, zero_point=0):
    """A tensor of a dtype, quantized where that is int8 or int16."""
    return Tensor(shape, dtype, *((scale, zero_point) if dtype in ("int8", "int16") else ()))


def integers(values):
    data = np.array(values, np.int32)
    return Tensor(data.shape, "int32", data=data)


def of_dimensions(name, rank):
    """A file of one operator on int8 tensors of so many dimensions, each of size 1."""
    shape, zeros, ones = (1,) * rank, integers([0] * rank), integers([1] * rank)
    operands, options = {
        "BATCH_MATMUL": ({"z": tensor(shape, "int8")}, {"adjX": False, "adjY": False}),
        "BROADCAST_TO": ({"shape": ones}, {}),
        "CONCATENATION": ({"z": tensor(shape, "int8")}, {"axis": rank - 1}),
        "L2_NORMALIZATION": ({}, {}),
        "PAD": ({"padding": integers([[0, 0]] * rank)}, {}),
        "PADV2": (
            {
                "padding": integers([[0, 0]] * rank),
                "value": Tensor((1,), "int8", 2**-15, data=np.zeros(1, np.int8)),
            },
            {},
        ),
        "REVERSE_V2": ({"axis": integers([rank - 1])}, {}),
        "SLICE": ({"begin": zeros, "size": ones}, {}),
        "STRIDED_SLICE": ({"begin": zeros, "end": ones, "strides": ones}, {}),
        "TRANSPOSE": ({"permutation": integers(list(range(rank)))}, {}),
    }[name]
    scale = 2**-7 if name == "L2_NORMALIZATION" else 2**-15
    result = (*shape[1:], 2) if name == "CONCATENATION" else shape
    tensors = {"x": tensor(shape, "int8"), **operands, "y": tensor(result, "int8", scale)}
    inputs = [key for key in ("x", "z") if key in tensors]
    return file(tensors, [(name, ["x", *operands], ["y"], options)], inputs, ["y"])


def runs(content):
    """Whether the runtime computes the operator of ones."""
    from tflite_micro.python.tflite_micro import runtime

    graph = flatbuffer.parse(content).subgraphs[0]
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=20_000)
        for n in graph.inputs:
            x = graph.tensors[n]
            interpreter.set_input(np.ones(tuple(x.shape), flatbuffer.type_name(x)), n)
        interpreter.invoke()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("kind", TYPE_NAMES)
@pytest.mark.parametrize("name", [*f"{SAME_TYPE} {COMPARISONS} SELECT_V2 CONCATENATION".split()])
def test_the_runtime_takes_the_types_in_the_table(name, kind):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: table NOT checked")
    assert runs(one_operator(name, kind)) == (kind in TYPES[name])


@pytest.mark.parametrize("name", MAX_DIMENSIONS)
def test_the_runtime_takes_the_dimensions_in_the_table(name):
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: table NOT checked")
    maximum = MAX_DIMENSIONS[name]
    assert runs(of_dimensions(name, maximum))
    beyond = of_dimensions(name, maximum + 1)
    with pytest.raises(ConversionError, match=f"needs the operator {name} of tensors with"):
        check_operators(flatbuffer.parse(beyond), LayerTable({}))
    if name != "SLICE":  # it ends the process
        assert not runs(beyond)
