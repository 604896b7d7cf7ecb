"""From the ranges at a trained model's points to those of every tensor of its file."""

import numpy as np
import pytest
from handmade_files import Tensor, file, run
from tflite_files import operators

from kgated.deploy.from_qat.ranges import qat_ranges, requantize_before_concatenation
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.errors import ConversionError

POINTS = {"cell/a": ["a"], "cell/b": ["b"], "cell/whole": ["whole"]}


def ranges_of(content, points, limits, shared=()):
    ranges = qat_ranges(FloatFile.from_bytes(content), points, limits, shared)
    return {name: (float(r["min"].min()), float(r["max"].max())) for name, r in ranges.items()}


def with_requantization(content, limits):
    float_file = FloatFile.from_bytes(content)
    requantize_before_concatenation(float_file, POINTS, limits)
    return float_file.content


def moved_file():
    """A state through TRANSPOSE and TANH: only the first moves numbers alone."""
    shape = np.array([1, 0], np.int32)
    tensors = {
        "state": Tensor((2, 3)),
        "order": Tensor((2,), "int32", data=shape),
        "cell/moved": Tensor((3, 2)),
        "cell/next": Tensor((3, 2)),
    }
    steps = [
        ("TRANSPOSE", ["state", "order"], ["cell/moved"]),
        ("TANH", ["cell/moved"], ["cell/next"]),
    ]
    return file(tensors, steps, ["state"], ["cell/next"])


def test_ranges_go_through_operators_that_move_numbers_and_along_a_state():
    ranges = ranges_of(
        moved_file(),
        {"cell/next": ["h", "later"]},
        {"h": (-0.5, 0.75), "later": (-9, 9)},
        [("state", "next")],
    )
    assert ranges == dict.fromkeys(["cell/next", "state", "cell/moved"], (-0.5, 0.75))


def test_ranges_do_not_go_through_other_operators():
    ranges = ranges_of(
        moved_file(), {"cell/moved": ["x"], "cell/next": ["h"]}, {"x": (-3, 3), "h": (-1, 1)}
    )
    assert ranges == {"state": (-3, 3), "cell/moved": (-3, 3), "cell/next": (-1, 1)}


def test_a_tensor_without_a_range_is_refused_by_operator_and_layer():
    with pytest.raises(ConversionError, match="no range for TANH of layer `cell`"):
        ranges_of(moved_file(), {"cell/moved": ["x"]}, {"x": (-3, 3)})


def joined_file(read_twice=False):
    """Two activations, concatenated; the first may be an output of the file too."""
    part = Tensor((1, 3))
    tensors = {"x": part, "cell/a": part, "cell/b": part, "cell/whole": Tensor((1, 6))}
    steps = [
        ("TANH", ["x"], ["cell/a"]),
        ("LOGISTIC", ["x"], ["cell/b"]),
        ("CONCATENATION", ["cell/a", "cell/b"], ["cell/whole"]),
    ]
    outputs = ["cell/whole", *["cell/a"] * read_twice]
    return file(tensors, steps, ["x"], outputs)


def sources(content):
    """What feeds each end of the concatenation: the operator's name."""
    produced = {flatbuffer.tensor_name(out[0]): kind for kind, _, out in operators(content)}
    (inputs,) = (ins for kind, ins, _ in operators(content) if kind == "CONCATENATION")
    return [produced[flatbuffer.tensor_name(tensor)] for tensor in inputs]


def test_an_input_of_a_concatenation_keeps_its_own_range(rng):
    limits = {"a": (-1.0, 1.0), "b": (0.0, 0.5), "whole": (-1.0, 1.0)}
    changed = with_requantization(joined_file(), limits)
    assert sources(changed) == ["TANH", "RESHAPE"]
    x = rng.normal(size=(1, 3)).astype(np.float32)
    expected = np.concatenate([np.tanh(x), 1 / (1 + np.exp(-x))], axis=1)
    np.testing.assert_allclose(run(changed, x=x)["whole"], expected, atol=1e-6)


def test_an_input_with_the_range_of_the_output_or_with_other_readers_is_not_requantized():
    equal = dict.fromkeys(["a", "b", "whole"], (-1.0, 1.0))
    assert sources(with_requantization(joined_file(), equal)) == ["TANH", "LOGISTIC"]
    wider = {**equal, "whole": (-2.0, 2.0)}
    assert sources(with_requantization(joined_file(), wider)) == ["RESHAPE", "RESHAPE"]
    twice = sources(with_requantization(joined_file(read_twice=True), wider))
    assert twice == ["TANH", "RESHAPE"]
