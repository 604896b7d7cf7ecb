"""Ranges that LiteRT's kernels can't use as they are, against the kernels and arithmetic."""

import numpy as np
import pytest
from handmade_files import Tensor, file, run

from kgated.deploy.quantization.ranges.range_rules import (
    avoid_power_of_two_scales,
    clamp_rsqrt_ranges,
    widen_constant_ranges,
)
from kgated.deploy.tflite import flatbuffer

SHAPE = (1, 64)


def without_power_of_two_scales(content, ranges):
    return avoid_power_of_two_scales(flatbuffer.parse(content), ranges)


def with_clamped_rsqrt(content, ranges, bits):
    return clamp_rsqrt_ranges(flatbuffer.parse(content), ranges, bits)


def limits(low, high):
    return {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}


def difference(scale, kind="SUB"):
    """A file that subtracts int16 tensors of scale 2^-15, its result of the scale given."""
    operand = Tensor(SHAPE, "int16", 2.0**-15)
    tensors = {"a": operand, "b": operand, "layer/y": Tensor(SHAPE, "int16", scale)}
    return file(tensors, [(kind, ["a", "b"], ["layer/y"])], ["a", "b"], ["layer/y"])


def changed_scale(kind, largest):
    """The int16 scale of the result after the rule, where its range was -largest to largest."""
    ranges = {"a": limits(-1, 1), "b": limits(-1, 1), "layer/y": limits(-largest, largest)}
    changed = without_power_of_two_scales(difference(2.0**-14, kind), ranges)
    assert changed["a"] == ranges["a"]
    return float(changed["layer/y"]["max"][0]) / 32767


def test_the_kernel_refuses_the_power_of_two_and_takes_the_wider_scale(rng):
    a, b = (rng.integers(-32767, 32768, SHAPE).astype(np.int16) for _ in "ab")
    with pytest.raises(RuntimeError):
        run(difference(2.0**-14), a=a, b=b)
    scale = changed_scale("SUB", largest=32767 * 2.0**-14)
    assert 2.0**-14 < scale < 1.01 * 2.0**-14
    result = run(difference(scale), a=a, b=b)["y"] * scale
    exact = (a.astype(np.float64) - b) * 2.0**-15
    np.testing.assert_allclose(result, exact, rtol=0, atol=1.01 * scale)


@pytest.mark.parametrize("kind", ["ADD", "SUB"])
def test_only_ranges_near_a_power_of_two_are_widened(kind):
    near = 32767 * 2.0**-14 * 2.0**0.0015
    far = 32767 * 2.0**-14 * 2.0**0.003
    assert changed_scale(kind, near) > near / 32767 * 1.001
    assert changed_scale(kind, far) == pytest.approx(far / 32767, rel=1e-6)


def test_other_operators_keep_a_power_of_two():
    tensors = {"x": Tensor(SHAPE), "layer/y": Tensor(SHAPE)}
    content = file(tensors, [("TANH", ["x"], ["layer/y"])], ["x"], ["layer/y"])
    ranges = {"x": limits(-4, 4), "layer/y": limits(-32767 * 2.0**-15, 32767 * 2.0**-15)}
    assert without_power_of_two_scales(content, ranges) == ranges


@pytest.mark.parametrize(("bits", "steps"), [(8, 255), (16, 32767)])
def test_an_inverse_reaches_no_farther_than_that_of_the_smallest_variance(bits, steps):
    tensors = {"layer/variance": Tensor(SHAPE), "layer/inverse": Tensor(SHAPE)}
    names = list(tensors)
    content = file(tensors, [("RSQRT", names[:1], names[1:])], names[:1], names[1:])
    ranges = {"layer/variance": limits(0.0, 4.0), "layer/inverse": limits(0.5, 1e4)}
    clamped = with_clamped_rsqrt(content, ranges, bits)
    smallest = 4.0 / steps  # the variance that the integer 1 stands for
    assert clamped["layer/inverse"]["max"] == pytest.approx(smallest**-0.5)
    assert clamped["layer/variance"] == ranges["layer/variance"]
    ranges["layer/inverse"] = limits(0.5, 3.0)  # what all frames give stays
    assert with_clamped_rsqrt(content, ranges, bits)["layer/inverse"]["max"] == 3.0


def sum_of(scale):
    """A file that adds int8 tensors of scale 1/128, its result of the scale given."""
    operand = Tensor(SHAPE, "int8", 1 / 128)
    tensors = {"a": operand, "b": operand, "layer/y": Tensor(SHAPE, "int8", scale)}
    return file(tensors, [("ADD", ["a", "b"], ["layer/y"])], ["a", "b"], ["layer/y"])


def test_a_result_that_never_moved_takes_the_range_of_its_operands(rng):
    model = flatbuffer.parse(sum_of(1 / 64))
    ranges = {"a": limits(-1, 0.5), "b": limits(-0.5, 1), "layer/y": limits(0, 1e-9)}
    result = widen_constant_ranges(model, ranges)
    assert result["layer/y"] == limits(-1, 1)
    assert (result["a"], result["b"]) == (ranges["a"], ranges["b"])
    moving = ranges | {"layer/y": limits(-1e-3, 0)}
    assert widen_constant_ranges(model, moving)["layer/y"] == moving["layer/y"]
    nothing = {name: limits(0, 0) for name in ranges}
    assert widen_constant_ranges(model, nothing)["layer/y"] == limits(0, 1)
