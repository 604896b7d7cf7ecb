"""The step that a library offers to CPython: results and errors of the call through ctypes."""

import array
import gc
import sys
import threading

import keras
import numpy as np
import pytest
from c_programs import has
from kgated_edge import EdgeError, EdgeModel, FrameError
from kgated_edge.native import python_step
from kgated_edge.native.compiler import build
from kgated_edge.runtime import engines

import kgated

FEATURES, STEPS = 5, 12
L = keras.layers
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has("gcc"), reason="no gcc: the native engine was NOT run"),
]


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(5).normal(size=(STEPS, FEATURES)).astype(np.float32)


@pytest.fixture(scope="module", params=["vector", "block", "int8"])
def path(request, tmp_path_factory, frames):
    """A file with its library: frames (5,), blocks (4, 5), and frames that Python quantizes."""
    keras.utils.set_random_seed(3)
    cell = kgated.PeepholeLSTM(9, return_sequences=True)
    model = keras.Sequential([keras.Input((None, FEATURES)), cell, L.Dense(3)])
    path = tmp_path_factory.mktemp("native") / "m.tflite"
    options = {"block": 4} if request.param == "block" else {}
    options |= {"quantize": "int8"} if request.param == "int8" else {}
    calibration = frames[np.newaxis].repeat(2, 0)
    kgated.to_tflite(model, path, mode="stream", target="c", calibration=calibration, **options)
    build(path.with_suffix(".c"))
    return path


@pytest.fixture
def through_ctypes(path, monkeypatch):
    """The model, run as on a Python without that step."""
    monkeypatch.setattr(python_step, "_is_supported", lambda: False)
    model = EdgeModel(path, engine="native")
    assert model._quick is None
    monkeypatch.undo()
    return model


def test_the_results_are_those_of_the_call_through_ctypes(path, through_ctypes, frames):
    quick = EdgeModel(path, engine="native")
    assert (quick._quick is None) == (quick.manifest.frame.dtype == "int8")
    first = results = None
    for frame in quick.cut(frames):
        results, expected = quick.step(frame), through_ctypes.step(frame)
        np.testing.assert_array_equal(results, expected)
        first = results if first is None else first
    assert np.abs(first - results).max() > 0, "each step returns an array of its own"
    for name, state in through_ctypes.state.items():
        np.testing.assert_array_equal(quick.state[name], state)


def test_other_layouts_of_a_frame_are_taken(path, through_ctypes, frames):
    model = EdgeModel(path, engine="native")
    frame = model.cut(frames)[0]
    expected = through_ctypes.step(frame)
    strided = np.repeat(frame, 2, -1)[..., ::2]
    unaligned = np.frombuffer(b"\0" + frame.tobytes(), np.uint8)[1:].view(np.float32)
    unaligned = unaligned.reshape(frame.shape)
    assert not strided.flags.c_contiguous
    assert not unaligned.flags.aligned
    for same in (strided, unaligned, frame.copy()):
        model.reset()
        np.testing.assert_array_equal(model.step(same), expected)


def test_bad_frames_are_refused_with_the_same_words(path, through_ctypes, frames):
    model = EdgeModel(path, engine="native")
    good = model.cut(frames)[0]
    bad = good.copy()
    bad.flat[2] = np.inf
    model.step(good), through_ctypes.step(good)
    before = model.state
    for frame in (bad, good[..., :3], good[np.newaxis], good.astype(np.float64), 3, None, "text"):
        with pytest.raises(FrameError) as error:
            model.step(frame)
        with pytest.raises(FrameError) as expected:
            through_ctypes.step(frame)
        assert str(error.value) == str(expected.value)
    for name, state in model.state.items():
        np.testing.assert_array_equal(state, before[name])
    np.testing.assert_array_equal(model.step(good), through_ctypes.step(good))


def test_bytes_of_another_type_and_order_are_refused(path, frames):
    model = EdgeModel(path, engine="native")
    frame = model.cut(frames)[0]
    for strange in (array.array("i", [1] * frame.size), frame.view(np.int32), bytes(frame)):
        with pytest.raises(FrameError):
            model.step(strange)
    with pytest.raises(FrameError):
        model.step(frame.astype(">f4").view(frame.dtype.newbyteorder(">"))[..., :0])


def test_a_step_during_another_threads_call_is_refused(path, frames):
    model = EdgeModel(path, engine="native")
    frame, errors = model.cut(frames)[0], []
    resources = model._idle.pop()

    def step():
        try:
            model.step(frame)
        except EdgeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    model._idle.append(resources)
    assert len(errors) == 1
    assert "another thread uses this model" in errors[0]
    assert not any(state.any() for state in model.state.values() if state.dtype == np.float32)
    model.step(frame)


def test_the_step_keeps_its_memory(path, frames):
    model = EdgeModel(path, engine="native")
    frame = model.cut(frames)[0]
    expected = model.clone().step(frame)
    step, model = model._quick or model.step, None
    gc.collect()
    np.testing.assert_array_equal(step(frame), expected)


def test_a_large_model_lets_other_threads_run(path, monkeypatch):
    monkeypatch.setattr(engines, "_SMALL_FILE", 100)
    assert EdgeModel(path, engine="native")._quick is None


def test_bad_frames_are_replaced_where_that_is_asked(path, frames):
    model = EdgeModel(path, engine="native", on_bad_frame="hold")
    frame = model.cut(frames)[0]
    model.step(frame)
    bad = np.full_like(frame, np.nan)
    assert np.isfinite(model.step(bad)).all()
    assert model.held_frames > 0


def test_steps_and_refused_frames_leave_no_reference(path, frames):
    model = EdgeModel(path, engine="native")
    good = model.cut(frames)[0]
    bad = np.full_like(good, np.nan)
    quick = model._quick or model.step
    counted = (good, bad, None, model._idle)
    before = [sys.getrefcount(x) for x in counted]
    for _ in range(1000):
        result = quick(good)
        if model._quick:
            assert quick(bad) is None
            assert quick(good[..., ::2]) is None
    assert [sys.getrefcount(x) for x in counted] == pytest.approx(before, abs=20)
    assert sys.getrefcount(result) == 2
