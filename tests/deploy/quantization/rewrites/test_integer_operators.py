"""Float operators between DEQUANTIZE and QUANTIZE become integer ones; against NumPy in float64."""

import numpy as np
import pytest
from handmade_files import Tensor, model, run
from tflite_files import operator_names

from kgated.deploy.quantization.ranges.calibration import as_range
from kgated.deploy.quantization.rewrites.integer_operators import use_integer_kernels
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable

ALPHA = np.float32([0.3, -0.2, 0.1, 0.5])
SCALES = {8: (0.05, 3, 0.04, -5), 16: (2e-4, 0, 1.5e-4, 0)}
CASES = {
    "ABS": np.abs,
    "LEAKY_RELU": lambda x: np.where(x > 0, x, 0.25 * x),
    "PRELU": lambda x: np.where(x > 0, x, ALPHA * x),
    "MAXIMUM": lambda x: np.maximum(x, ALPHA),
    "MINIMUM": lambda x: np.minimum(x, ALPHA),
}


def in_float(name, bits):
    """DEQUANTIZE, the operator in float, QUANTIZE."""
    scale, zero, scale_out, zero_out = SCALES[bits]
    kind, shape = f"int{bits}", (16, 4)
    tensors = {
        "x": Tensor(shape, kind, scale, zero),
        "a": Tensor(shape),
        "alpha": Tensor((4,), data=ALPHA),
        "b": Tensor(shape),
        "y": Tensor(shape, kind, scale_out, zero_out),
    }
    inputs = ["a"] if name in ("ABS", "LEAKY_RELU") else ["a", "alpha"]
    options = [{"alpha": 0.25}] if name == "LEAKY_RELU" else []
    steps = [("DEQUANTIZE", ["x"], ["a"]), (name, inputs, ["b"], *options)]
    return model(tensors, [*steps, ("QUANTIZE", ["b"], ["y"])], ["x"], ["y"])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", CASES)
def test_the_integers_are_those_of_the_function(name, bits, rng):
    parsed, (scale, zero, scale_out, zero_out) = in_float(name, bits), SCALES[bits]
    ranges = {"b": as_range(-5.0, 5.0, 0), "a": as_range(-5.0, 5.0, 0)}
    use_integer_kernels(parsed, LayerTable({}), ranges, bits)
    content = flatbuffer.pack(parsed)
    assert name in operator_names(content)
    assert "DEQUANTIZE" not in operator_names(content)
    limit = 2 ** (bits - 1)
    q = rng.integers(-limit, limit, (16, 4)).astype(f"int{bits}")
    exact = CASES[name]((q.astype(float) - zero) * scale)
    expected = np.clip(np.round(exact / scale_out) + zero_out, -limit, limit - 1)
    apart = np.abs(run(content, x=q)["y"].astype(float) - expected)
    # A slope of 8 bits is off by up to 0.5/127 of the largest.
    assert apart.max() <= (2 if name != "PRELU" or bits == 8 else 0.003 * limit)


def test_a_skipped_layer_and_an_operator_without_kernel_stay_in_float():
    for name, layers, skip in (("ABS", {"b": "mine"}, ["mine"]), ("ABS", {}, [])):
        parsed = in_float(name, 8)
        ranges = {} if skip else {"b": as_range(-5.0, 5.0, 0)}
        use_integer_kernels(parsed, LayerTable(layers), ranges, 8, skip)
        assert ("DEQUANTIZE" in operator_names(flatbuffer.pack(parsed))) == bool(skip)


def test_a_function_becomes_a_table_with_an_entry_for_each_integer():
    parsed, (scale, zero, scale_out, zero_out) = in_float("ABS", 8), SCALES[8]
    ranges = {"b": as_range(-5.0, 5.0, 0)}
    use_integer_kernels(parsed, LayerTable({}), ranges, 8, functions={"b": np.sin})
    content = flatbuffer.pack(parsed)
    assert list(operator_names(content)) == ["CAST", "ADD", "GATHER"]
    q = np.arange(-128, -64, dtype=np.int8).reshape(16, 4)
    expected = np.round(np.sin((q.astype(float) - zero) * scale) / scale_out) + zero_out
    assert np.array_equal(run(content, x=q)["y"], np.clip(expected, -128, 127))
