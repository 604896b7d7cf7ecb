"""Regions of elementwise operators that a lookup table computes, against NumPy in float64."""

import numpy as np
import pytest
from handmade_files import Tensor, file
from tflite_files import operator_names

from kgated.deploy.quantization.rewrites.activation_tables import PLACEHOLDER, collapse_activations
from kgated.deploy.tflite.float_file import FloatFile

SHAPE = (1, 6)
X = np.linspace(-4, 4, 101)


def chain(*kinds, outputs=("y",)):
    """Operators in series: "ADD 1" adds a constant, "SUB x" subtracts the result from x."""
    tensors, operators, before = {"x": Tensor(SHAPE)}, [], "x"
    for n, kind in enumerate(kinds):
        name, _, operand = kind.partition(" ")
        after = "y" if n == len(kinds) - 1 else f"t{n}"
        tensors[after], inputs = Tensor(SHAPE), [before]
        if operand == "x":
            inputs = ["x", before]
        elif operand:
            tensors[f"c{n}"] = Tensor((1,), data=np.float32([float(operand)]))
            inputs = [before, f"c{n}"]
        operators.append((name, inputs, [after]))
        before = after
    return FloatFile.from_bytes(file(tensors, operators, ["x"], list(outputs)))


REGIONS = {
    "softplus": (["EXP", "ADD 1", "LOG"], lambda x: np.log1p(np.exp(x))),
    "tanh_shrink": (["TANH", "SUB x"], lambda x: x - np.tanh(x)),
    "sine": (["SIN"], np.sin),
    "angle": (["ATAN2 2"], lambda x: np.arctan2(x, 2)),
    "rest": (["FLOOR_MOD 0.75"], lambda x: np.mod(x, 0.75)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_region_becomes_one_placeholder_with_its_function(name):
    kinds, expected = REGIONS[name]
    float_file = chain(*kinds)
    functions = collapse_activations(float_file, bits=8)
    assert list(operator_names(float_file.content)) == [PLACEHOLDER]
    (function,) = functions.values()
    np.testing.assert_allclose(function(X), expected(X), atol=1e-6)


@pytest.mark.parametrize("kinds", [["TANH"], ["LOGISTIC"], ["ADD 1", "MUL 2"]])
def test_what_the_quantizer_computes_stays(kinds):
    float_file = chain(*kinds)
    assert collapse_activations(float_file, bits=8) == {}
    assert list(operator_names(float_file.content)) == [kind.split()[0] for kind in kinds]


def test_a_skipped_layer_stays_in_float():
    float_file = chain("EXP", "ADD 1", "LOG")
    float_file.layers.layer = lambda graph, operator: "mine"
    assert collapse_activations(float_file, 8, skip=["mine"]) == {}


def test_a_region_ends_at_fake_quantization():
    float_file = chain("ADD 1", "MUL 2", "TANH")
    (name,) = collapse_activations(float_file, 8, points=["x", "t1", "y"])
    assert name == "t1"
    assert list(operator_names(float_file.content)) == [PLACEHOLDER, "TANH"]


def test_a_tensor_that_is_read_elsewhere_stays():
    float_file = chain("EXP", "ADD 1", "LOG", outputs=["t1", "y"])
    assert set(collapse_activations(float_file, 8)) == {"t1", "y"}
