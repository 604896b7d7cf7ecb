"""Models of integers throughout: float32 goes in and comes out, integers stay inside."""

import numpy as np
import pytest
from kgated_edge import EdgeModel, FrameError, ManifestError, StateError, check, selftest
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.runtime.quantization import reader, storer

# Against float64 equations: 8 bits of every number on the way, and 16.
TOLERANCES = {"int8": 0.12, "int16x8": 0.02}


@pytest.fixture(params=TOLERANCES)
def name(request):
    return request.param


@pytest.fixture
def path(fixture_file, name):
    return fixture_file(name)


@pytest.fixture
def frames(rng):
    return rng.normal(size=(40, 3)).astype(np.float32)


def test_floats_go_in_and_out_and_agree_with_the_equations(path, name, oracle, frames):
    model = EdgeModel(path)
    outputs = np.array([model.step(frame) for frame in frames])
    assert outputs.dtype == np.float32
    error = np.abs(outputs - oracle(path, frames)).max()
    assert 1e-5 < error <= TOLERANCES[name]
    model.reset()
    np.testing.assert_array_equal(model.run(frames), outputs)


def test_the_tolerance_sees_a_wrong_scale(path, name, oracle, frames):
    assert np.abs(EdgeModel(path).run(frames * 1.5) - oracle(path, frames)).max() > TOLERANCES[name]


def test_the_state_is_integers_and_zero_is_the_zero_point(path, name, frames):
    model = EdgeModel(path)
    dtype = {"int8": np.int8, "int16x8": np.int16}[name]
    zeros = {spec.name: spec.zero_point for spec in model.manifest.states}
    assert {array.dtype for array in model.state.values()} == {np.dtype(dtype)}
    model.run(frames)
    assert any((model.state[key] != zero).any() for key, zero in zeros.items())
    model.reset()
    assert all((model.state[key] == zero).all() for key, zero in zeros.items())


def test_the_zero_point_of_a_state_is_not_zero_here(fixture_file):
    # Else the test above would pass with a reset to zero.
    assert any(spec.zero_point for spec in EdgeModel(fixture_file("int8")).manifest.states)


def test_state_goes_from_one_model_to_another(path, frames):
    first, second = EdgeModel(path), EdgeModel(path)
    full = first.run(frames)
    second.run(frames[:20])
    third = EdgeModel(path)
    third.state = second.state
    np.testing.assert_array_equal(third.run(frames[20:]), full[20:])
    with pytest.raises(StateError, match="dtype"):
        third.state = {name: value.astype(np.float32) for name, value in second.state.items()}


def test_integers_of_the_model_are_taken_as_they_are(path, frames):
    model = EdgeModel(path)
    spec = model.manifest.frame
    limits = np.iinfo(spec.dtype)
    stored = np.rint(frames.astype(np.float64) / spec.scale) + spec.zero_point
    stored = stored.clip(limits.min, limits.max).astype(spec.dtype)
    expected = model.run(frames)
    model.reset()
    np.testing.assert_array_equal(model.run(stored), expected)
    model.reset()
    np.testing.assert_array_equal([model.step(frame) for frame in stored], expected)


def test_frames_out_of_range_are_set_to_the_nearest(path):
    model = EdgeModel(path)
    spec = model.manifest.frame
    maximum = (np.iinfo(spec.dtype).max - spec.zero_point) * spec.scale
    results = []
    for value in (maximum, 2 * maximum, 3e38):
        model.reset()
        results.append(model.step(np.full(3, value, np.float32)))
    assert np.ptp(results, axis=0).max() == 0.0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.array([0, np.nan, 0], np.float32), "finite"),
        (np.zeros(3), "float32"),
        (np.zeros(4, np.float32), "shape"),
        (np.zeros(4, np.int8), "shape"),
        ([0.0, 0.0, 0.0], "array"),
    ],
)
def test_bad_frames_are_refused_and_move_nothing(fixture_file, frame, message):
    model = EdgeModel(fixture_file("int8"))
    before = model.state
    with pytest.raises(FrameError, match=message):
        model.step(frame)
    assert all((model.state[key] == value).all() for key, value in before.items())


def test_check_and_selftest_take_float_data(path, frames):
    data = SequenceData(frames[None], np.array([len(frames)]), np.array([0]))
    assert check(path, data).golden_ok
    assert selftest(path).passed


def test_a_scale_that_is_not_the_files_is_refused(path, edit):
    content = path.read_bytes()
    scale = repr(EdgeModel(path).manifest.frame.scale).encode()
    assert content.count(scale) == 1
    wrong = scale[:-1] + (b"1" if scale[-1:] != b"1" else b"2")
    with pytest.raises(ManifestError, match=r"frame.*scale"):
        EdgeModel(edit(path, scale, wrong))


def test_rounding_is_to_the_nearest_and_back():
    spec = TensorSpec("x", (6,), "int8", scale=0.5, zero_point=-3)
    stored, buffer = np.empty(6, np.int8), np.array([0, 0.2, 0.3, -0.3, 62, -100], np.float32)
    storer(spec, stored, buffer)()
    assert stored.tolist() == [-3, -3, -2, -4, 121, -128]
    np.testing.assert_array_equal(reader(spec, stored)(), [0.0, 0.0, 0.5, -0.5, 62.0, -62.5])
