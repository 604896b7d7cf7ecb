"""What Keras itself computes as the reference: also of models that take one sequence at a time."""

import keras
import numpy as np
import pytest
from keras import ops
from kgated_edge import EdgeModel, SequenceModel

import kgated
from kgated.deploy.verification.reference import Reference
from kgated.errors import ConversionError

TIME, FEATURES, UNITS = 6, 3, 4
L = keras.layers


def constant(*shape):
    return ops.convert_to_tensor(np.random.default_rng(1).normal(size=shape).astype(np.float32))


def model_of(merge):
    x = keras.Input((None, FEATURES))
    h = L.GRU(UNITS, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2)(merge(h)))


PER_FRAME = {  # constants that have the time axis
    "Concatenate": lambda h: L.Concatenate()([h, constant(1, TIME, 2)]),
    "concatenate": lambda h: ops.concatenate([constant(1, TIME, 2), h], axis=-1),
    "Add": lambda h: L.Add()([h, constant(1, TIME, UNITS)]),
    "Multiply": lambda h: L.Multiply()([h, constant(1, TIME, 1)]),
    "operator": lambda h: h - constant(1, TIME, UNITS),
}
FOR_ALL = {  # constants that are the same for all frames
    "Add": lambda h: L.Add()([h, constant(1, 1, UNITS)]),
    "Maximum": lambda h: L.Maximum()([h, constant(1, 1, UNITS)]),
    "operator": lambda h: h * constant(1, 1, UNITS),
}


@pytest.mark.parametrize("name", PER_FRAME)
def test_a_constant_with_a_batch_of_one_is_taken(name, rng, tmp_path):
    model, path = model_of(PER_FRAME[name]), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", length=TIME)
    x = rng.normal(size=(1, TIME, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(SequenceModel(path).run(x[0]), model(x)[0], atol=1e-5)


@pytest.mark.parametrize("name", FOR_ALL)
def test_a_constant_for_all_frames_streams(name, rng, tmp_path):
    model, path = model_of(FOR_ALL[name]), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="stream")
    x = rng.normal(size=(1, TIME, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(EdgeModel(path).run(x[0]), model(x)[0], atol=1e-5)


def test_a_constant_with_a_time_axis_does_not_stream_and_the_error_names_the_length(tmp_path):
    model = model_of(PER_FRAME["Concatenate"])
    with pytest.raises(ConversionError, match=r"layer `concatenate\w*`.*with `length=16`, .*fails"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="stream")


def masked_softmax():
    return keras.Sequential(
        [keras.Input((None, FEATURES)), L.Masking(), L.Softmax(name="guilty"), L.LSTM(UNITS)]
    )


@pytest.mark.parametrize("mode", ["stream", "sequence"])
@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_where_keras_itself_fails_the_error_names_the_layer(mode, quantize, rng, tmp_path):
    x = rng.normal(size=(4, TIME, FEATURES)).astype(np.float32)
    options = {"length": TIME} if mode == "sequence" else {}
    with pytest.raises(ConversionError, match=r"layer `guilty` \(Softmax\) fails in Keras itself"):
        kgated.to_tflite(
            masked_softmax(),
            tmp_path / "m.tflite",
            mode=mode,
            quantize=quantize,
            calibration=x,
            **options,
        )


def test_sequences_that_files_are_compared_on_are_computed_once(rng):
    calls = []

    def model(x, training):
        calls.append(len(x))
        return 2.0 * x

    reference = Reference(model, ("x",), ("y",), (True,), 1)
    first, second = ({"x": rng.normal(size=(TIME, 1)).astype(np.float32)} for _ in range(2))
    for group in ([first, second], [first], [first, second], [{"x": first["x"].copy()}]):
        expected = 2.0 * np.stack([sequence["x"] for sequence in group])
        np.testing.assert_array_equal(reference.predict_once(group)["y"], expected)
    assert calls == [2, 1, 1]  # the third group is the first; equal numbers are another array
