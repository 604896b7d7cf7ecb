"""The quantization parameters that a state has both as an input and as an output."""

import numpy as np
import pytest
from handmade_files import Tensor, file

from kgated.deploy.quantization.scales.shared_scales import quantize_with_shared_scales
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError

SHAPE = (1, 4)
STATE = [("state", "next")]


def with_shared_scales(content, ranges, shared, quantize):
    def apply(ranges):
        return flatbuffer.parse(quantize(ranges))

    model = flatbuffer.parse(content)
    layers = LayerTable({"next": "cell"})
    return flatbuffer.pack(quantize_with_shared_scales(model, ranges, shared, apply, layers))


def state_file(dtype="float32", state=(None, 0), after=(None, 0)):
    tensors = {"state": Tensor(SHAPE, dtype, *state), "next": Tensor(SHAPE, dtype, *after)}
    return file(tensors, [("TANH", ["state"], ["next"])], ["state"], ["next"])


def limits(low, high):
    return {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}


def int8_parameters(limits):
    """Scale and zero point by their definition: 256 integers from -128 over the range with 0."""
    low, high = min(0.0, float(limits["min"][0])), max(0.0, float(limits["max"][0]))
    scale = (high - low) / 255
    return np.float32(scale), round(-128 - low / scale)


def int16_parameters(limits):
    """Scale by its definition: symmetric, to 32767."""
    return np.float32(max(-float(limits["min"][0]), float(limits["max"][0])) / 32767), 0


def quantizer(parameters, dtype, fixed=None):
    """A stand-in for the quantizer; `fixed` are the parameters of an output by its kernel."""

    def quantize(ranges):
        state, after = (parameters(ranges[name]) for name in ("state", "next"))
        return state_file(dtype, state, fixed or after)

    return quantize


def parameters_of(content):
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(content))
    return [flatbuffer.scale_and_zero_point(t) for t in (inputs["state"], outputs["next"])]


@pytest.mark.parametrize("names", [("state", "next"), ("next", "state")])
def test_a_state_has_the_range_of_both_its_ends(names):
    ranges = dict(zip(names, [limits(-1.0, 0.5), limits(-0.25, 2.0)], strict=True))
    quantize = quantizer(int8_parameters, "int8")
    apart = parameters_of(quantize(ranges))
    assert apart[0] != apart[1]
    before, after = parameters_of(with_shared_scales(state_file(), ranges, STATE, quantize))
    assert before == after
    assert before[0] == pytest.approx(3.0 / 255)
    assert before[1] == round(-128 + 1.0 / (3.0 / 255))


@pytest.mark.parametrize(
    ("dtype", "parameters", "fixed"),
    [
        ("int8", int8_parameters, (2.0**-7, 0)),
        ("int8", int8_parameters, (2.0**-8, -128)),
        ("int16", int16_parameters, (2.0**-15, 0)),
    ],
)
def test_an_input_takes_over_what_the_kernel_of_the_output_fixes(dtype, parameters, fixed):
    ranges = {"state": limits(-0.7, 0.6), "next": limits(-0.7, 0.6)}
    quantize = quantizer(parameters, dtype, fixed)
    before, after = parameters_of(with_shared_scales(state_file(), ranges, STATE, quantize))
    assert before == after == fixed


def test_ends_that_no_range_makes_equal_are_refused():
    ranges = {"state": limits(-1.0, 1.0), "next": limits(-1.0, 1.0)}

    def quantize(ranges):
        return state_file("int8", (0.5, 0), (0.25, 0))

    with pytest.raises(ConversionError, match=r"in layers \['cell'\]; .*skip=\['cell'\]"):
        with_shared_scales(state_file(), ranges, STATE, quantize)


def test_a_state_that_is_copied_from_another_takes_over_its_corrected_scale():
    names = [("a", "a_next"), ("b", "b_next")]
    ranges = {name: limits(-0.7, 0.6) for pair in names for name in pair}

    def chain(*parameters):
        tensors = {n: Tensor(SHAPE, "int8", *p) for n, p in zip(ranges, parameters, strict=True)}
        operators = [("TANH", ["a"], ["a_next"]), ("RESHAPE", ["a"], ["b_next"])]
        return file(tensors, operators, ["a", "b"], ["a_next", "b_next"])

    def quantize(ranges):
        a, b = (int8_parameters(ranges[name]) for name in ("a", "b"))
        return chain(a, (2.0**-7, 0), b, a)

    content = with_shared_scales(chain(*[(1.0, 0)] * 4), ranges, names, quantize)
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(content))
    scales = [flatbuffer.scale_and_zero_point(t) for t in (*inputs.values(), *outputs.values())]
    assert set(scales) == {(2.0**-7, 0)}
