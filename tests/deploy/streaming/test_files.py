"""Streaming files of whole models against Keras, with state outside and inside."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeModel
from stream_models import (
    FEATURES,
    MODELS,
    crnn,
    depthwise,
    frames_for,
    sequential,
    two_inputs,
    two_outputs,
)
from streams import assert_equal, prefixes, randomize
from tflite_files import operator_names

import kgated
from kgated.errors import ConversionError

layers = keras.layers


def run_file(path, frames):
    edge = EdgeModel(path)
    first = edge.run(frames)
    edge.reset()
    second = edge.run(frames)
    for left, right in zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True):
        np.testing.assert_array_equal(left, right)
    return keras.tree.flatten(first)


@pytest.mark.parametrize("build", [crnn, two_outputs, two_inputs, depthwise])
def test_files_equal_keras_with_state_outside_and_inside(build, rng, tmp_path):
    size = MODELS[build]
    model = randomize(build(), rng)
    frames = frames_for(model, size, rng)
    outside = kgated.to_tflite(model, tmp_path / "outside.tflite")
    inside = kgated.to_tflite(model, tmp_path / "inside.tflite", state="internal")
    results = run_file(outside.path, frames)
    assert_equal(results, prefixes(model, frames, size))
    for output, internal_output in zip(results, run_file(inside.path, frames), strict=True):
        np.testing.assert_array_equal(output, internal_output)
    assert outside.manifest.frames_per_step == inside.manifest.frames_per_step == size
    assert outside.manifest.states
    assert not inside.manifest.states


@pytest.mark.parametrize("quantize", ["none", "dynamic"])
def test_an_interpreter_that_names_no_signature_runs_the_step(quantize, rng, tmp_path):
    model = sequential(kgated.LSTM(4, return_sequences=True), kgated.GRU(3))
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", state="internal", quantize=quantize)
    frames = rng.normal(size=(4, FEATURES)).astype(np.float32)
    plain = Interpreter(str(conversion.path))
    plain.allocate_tensors()
    assert list(plain.get_signature_list()) == ["step", "reset"]
    (taken,), (result,) = plain.get_input_details(), plain.get_output_details()
    results = []
    for frame in frames:
        plain.set_tensor(taken["index"], frame[None])
        plain.invoke()
        results.append(plain.get_tensor(result["index"])[0])
    np.testing.assert_array_equal(results, EdgeModel(conversion.path).run(frames))
    assert not np.allclose(results[0], EdgeModel(conversion.path).run(frames[-1:]))


def test_a_model_without_states_keeps_none_inside(rng, tmp_path):
    model = sequential(layers.Dense(2))
    conversion = kgated.to_tflite(
        model, tmp_path / "m.tflite", state="internal", quantize="dynamic"
    )
    frames = rng.normal(size=(3, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(
        run_file(conversion.path, frames)[0], model(frames[None])[0], atol=0.05
    )


def test_calibration_by_input_and_blocks(rng, tmp_path):
    model = randomize(two_inputs(), rng)
    x = {"sound": rng.normal(size=(3, 7, 3)), "motion_1": rng.normal(size=(3, 7, 2))}
    x = {name: array.astype(np.float32) for name, array in x.items()}
    path = tmp_path / "data.npz"
    np.savez(path, **x, lengths=[7, 4, 5])
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=path)
    assert conversion.agreement.results == 3 + 2 + 2
    for name, array in conversion.manifest.golden.frames.items():
        np.testing.assert_array_equal(array, x[name][0, :6])
    twice = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=x)
    assert twice.agreement.results == 9
    with pytest.raises(ValueError, match=r"for each of the inputs \['sound', 'motion_1'\]"):
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=x["sound"])
    np.savez(path, **x, lengths=[7, 4, 1])
    with pytest.raises(ValueError, match=r"sequences of 2 frames or more.*Received one of 1"):
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=path)


def test_a_step_over_one_frame_copies_nothing(tmp_path):
    stack = [kgated.LSTM(4, return_sequences=True), kgated.GRU(3), layers.Dense(2)]
    kgated.to_tflite(sequential(*stack), tmp_path / "m.tflite")
    names = set(operator_names((tmp_path / "m.tflite").read_bytes()))
    assert "FULLY_CONNECTED" in names
    assert not names & {"RESHAPE", "STRIDED_SLICE", "PACK", "UNPACK", "TRANSPOSE"}


def test_an_unbounded_frame_count_is_refused_in_integers(rng, tmp_path):
    model = sequential(layers.Dense(2), layers.GlobalAveragePooling1D(name="guilty"))
    x = rng.normal(size=(4, 8, FEATURES)).astype(np.float32)
    with pytest.raises(ConversionError, match=r"`guilty` sums over a stream.*`skip=\['guilty'\]`"):
        kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", calibration=x)
    options = {"quantize": "int8", "calibration": x, "target": "mcu"}  # takes no `skip`
    with pytest.raises(ConversionError, match=r"`guilty` sums .*; take `mode='sequence'`, or"):
        kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", length=8, **options)


@pytest.mark.parametrize("pooling", [layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D])
def test_a_skipped_running_pooling_stays_in_float(rng, tmp_path, pooling):
    model = sequential(layers.Dense(2), pooling(name="figure"), layers.Dense(2))
    x = rng.normal(1.0, size=(4, 400, FEATURES)).astype(np.float32)
    options = {"quantize": "int8", "skip": ["figure"], "calibration": x}
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    assert {state.dtype for state in conversion.manifest.states} == {"float32"}
    expected = model.predict(x[:1], verbose=0)[0]
    result = EdgeModel(conversion.path).run(x[0])[-1]
    np.testing.assert_allclose(result, expected, atol=0.03 * np.abs(expected).max())


def test_a_long_stream_keeps_its_average(rng, tmp_path):
    model = sequential(layers.GlobalAveragePooling1D())
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite")
    frames = (3.0 + rng.normal(size=(20_000, FEATURES))).astype(np.float32)
    last = EdgeModel(conversion.path).run(frames)[-1]
    np.testing.assert_allclose(last, frames.astype(np.float64).mean(0), atol=1e-4)
