"""Rewritten float operators: the operators in the file, and equal results."""

import numpy as np
import pytest
from handmade_files import Tensor, file, run
from tflite_files import operator_names

from kgated.deploy.quantization.rewrites.float_rewrites import (
    FOR_INT16,
    FOR_INTEGER_WEIGHTS,
    FOR_INTEGERS,
    rewrite_operators,
)
from kgated.deploy.tflite.float_file import FloatFile

X = np.linspace(-9, 9, 8, dtype=np.float32)[None]
UNARY = {
    "NEG": (["MUL"], lambda x: -x),
    "SQUARE": (["MUL"], lambda x: x * x),
    "RELU6": (["MUL"], lambda x: np.clip(x, 0, 6)),
    "RELU_N1_TO_1": (["MUL"], lambda x: np.clip(x, -1, 1)),
    "EXP": (["EXP"], np.exp),  # in no table
}


def rewritten(content, rewrites):
    float_file = FloatFile.from_bytes(content)
    rewrite_operators(float_file, rewrites)
    return float_file.content


@pytest.mark.parametrize("name", UNARY)
def test_an_operator_becomes_one_with_an_integer_kernel(name):
    names, function = UNARY[name]
    content = file({"x": Tensor(X.shape), "y": Tensor(X.shape)}, [(name, ["x"], ["y"])], "x", "y")
    changed = rewritten(content, FOR_INTEGERS)
    assert list(operator_names(changed)) == names
    np.testing.assert_allclose(run(changed, x=X)["y"], function(X), rtol=1e-6)


@pytest.mark.parametrize(("shape", "names"), [((1, 8), ["BROADCAST_TO"]), ((3, 8), ["TILE"])])
def test_a_tile_of_single_rows_is_a_broadcast(shape, names, rng):
    x = rng.normal(size=shape).astype(np.float32)
    times = np.array([3, 1], np.int32)
    tensors = {"x": Tensor(shape), "n": Tensor((2,), "int32", data=times)}
    tensors["y"] = Tensor((3 * shape[0], 8))
    changed = rewritten(file(tensors, [("TILE", ["x", "n"], ["y"])], "x", "y"), FOR_INTEGERS)
    assert list(operator_names(changed)) == names
    np.testing.assert_array_equal(run(changed, x=x)["y"], np.tile(x, (3, 1)))


def test_a_squared_difference_is_a_difference_and_a_product(rng):
    a, b = rng.normal(size=(2, 1, 8)).astype(np.float32)
    tensors = {name: Tensor((1, 8)) for name in ("a", "b", "y")}
    content = file(tensors, [("SQUARED_DIFFERENCE", ["a", "b"], ["y"])], "ab", "y")
    changed = rewritten(content, FOR_INT16)
    assert list(operator_names(changed)) == ["SUB", "MUL"]
    np.testing.assert_allclose(run(changed, a=a, b=b)["y"], (a - b) ** 2, rtol=1e-6)


def test_rows_of_a_constant_matrix_are_looked_up(rng):
    table = rng.normal(size=(5, 3)).astype(np.float32)
    tokens = np.array([[4, 0, 4]], np.int32)
    tensors = {"table": Tensor((5, 3), data=table), "x": Tensor((1, 3), "int32")}
    tensors["y"] = Tensor((1, 3, 3))
    content = file(tensors, [("GATHER", ["table", "x"], ["y"])], "x", "y")
    changed = rewritten(content, FOR_INTEGER_WEIGHTS)
    assert list(operator_names(changed)) == ["RESHAPE", "EMBEDDING_LOOKUP", "RESHAPE"]
    np.testing.assert_array_equal(run(changed, x=tokens)["y"], table[tokens])
