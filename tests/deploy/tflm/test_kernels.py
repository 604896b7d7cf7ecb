"""The table of types per operator against what TensorFlow Lite Micro says when it runs."""

import numpy as np
import pytest
from handmade_files import Tensor, file

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflm.kernels import TYPES

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
