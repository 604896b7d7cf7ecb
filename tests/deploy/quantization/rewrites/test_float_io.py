"""Float inputs and outputs beside layers in float, against the interpreter."""

import numpy as np
import pytest
from handmade_files import Tensor, file, run

from kgated.deploy.quantization.rewrites import float_io
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable

SHAPE, SCALE = (1, 16), 2.0**-5


def with_float_io(content):
    model = flatbuffer.parse(content)
    float_io.use_float_io(model)
    return flatbuffer.pack(model)


def float_layers(content, skip=()):
    model = flatbuffer.parse(content)
    return float_io.float_operators(model, LayerTable.from_names(model), skip)


def types(content):
    """The dtypes of the signature's inputs and outputs, by name."""
    sides = flatbuffer.signature(flatbuffer.parse(content))
    return {name: flatbuffer.type_name(t) for side in sides for name, t in side.items()}


@pytest.fixture
def between_integers():
    """A tanh in float, between an int8 input and an int8 output."""
    integer, real = Tensor(SHAPE, "int8", SCALE), Tensor(SHAPE)
    tensors = {"x": integer, "cell/in": real, "cell/out": real, "y": integer}
    operators = [
        ("DEQUANTIZE", ["x"], ["cell/in"]),
        ("TANH", ["cell/in"], ["cell/out"]),
        ("QUANTIZE", ["cell/out"], ["y"]),
    ]
    return file(tensors, operators, ["x"], ["y"])


def test_a_layer_in_float_takes_and_gives_float(between_integers, rng):
    opened = with_float_io(between_integers)
    assert types(between_integers) == {"x": "int8", "y": "int8"}
    assert types(opened) == {"x": "float32", "y": "float32"}
    x = rng.normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(run(opened, x=x)["y"], np.tanh(x), atol=1e-6)
    rounded = run(between_integers, x=np.rint(x / SCALE).astype(np.int8))["y"] * SCALE
    assert np.abs(rounded - np.tanh(x)).max() > 1e-3  # what the integers would have cost


def test_an_input_that_integers_read_too_stays_an_integer():
    integer, real = Tensor(SHAPE, "int8", SCALE), Tensor(SHAPE)
    tensors = {"x": integer, "cell/in": real, "cell/out": real, "moved": integer}
    operators = [
        ("DEQUANTIZE", ["x"], ["cell/in"]),
        ("TANH", ["cell/in"], ["cell/out"]),
        ("RELU", ["x"], ["moved"]),
    ]
    content = file(tensors, operators, ["x"], ["cell/out", "moved"])
    opened = with_float_io(content)
    assert types(opened) == {"x": "int8", "out": "float32", "moved": "int8"}
    x = np.arange(-8, 8, dtype=np.int8)[None]
    results = run(opened, x=x)
    np.testing.assert_allclose(results["out"], np.tanh(x * SCALE), atol=1e-6)
    np.testing.assert_array_equal(results["moved"], np.maximum(x, 0))


def test_operators_in_float_are_named_with_their_layer(between_integers):
    assert float_layers(between_integers) == [("TANH", "cell")]
    assert float_layers(between_integers, skip=["cell"]) == []
