"""Streaming on real speech: masked and padded in Keras, real lengths in the file, same results."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceData, check

import kgated
from kgated.data import japanese_vowels, real_frames

pytest.importorskip("sktime", reason="the speech data set comes with sktime, which is missing")
CELLS = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU]


@pytest.fixture(scope="module")
def speech():
    return japanese_vowels()


@pytest.fixture(scope="module", params=CELLS, ids=lambda c: c.__name__)
def trained(request, speech):
    """A classifier trained just long enough to be sure of itself."""
    keras.utils.set_random_seed(0)
    normalization = keras.layers.Normalization()
    normalization.adapt(real_frames(speech.train))
    layers = [keras.Input((None, 12)), keras.layers.Masking(), normalization]
    layers += [request.param(24), keras.layers.Dense(9, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(speech.train.x, speech.train.y, batch_size=16, epochs=12, verbose=0)
    return model


@pytest.fixture(scope="module")
def files(trained, speech, tmp_path_factory):
    """By quantization the file of the trained model, checked at conversion on a few sequences."""
    folder, data = tmp_path_factory.mktemp("speech"), speech.train
    data = SequenceData(data.x[::20], data.lengths[::20], data.y[::20])
    paths = {quantize: folder / f"{quantize}.tflite" for quantize in ("none", "dynamic")}
    for quantize, path in paths.items():
        kgated.to_tflite(trained, path, quantize=quantize, calibration=data)
    return paths


def streamed(path, data):
    """The file's output at every real frame of each sequence: (N, T, 9), else NaN."""
    edge = EdgeModel(path)
    outputs = np.full((*data.x.shape[:2], 9), np.nan, np.float32)
    for row, frames, length in zip(outputs, data.x, data.lengths, strict=True):
        edge.reset()
        row[:length] = edge.run(frames[:length])
    return outputs


def accuracy(outputs, data):
    last = outputs[np.arange(len(data.x)), data.lengths - 1]
    return np.mean(last.argmax(-1) == data.y)


def test_steps_of_the_test_set_equal_keras(trained, speech, files):
    """Some of them: an error at one between would be in the states of the next."""
    outputs = streamed(files["none"], speech.test)
    for steps in range(1, outputs.shape[1] + 1, 7):
        heard = speech.test.lengths >= steps
        prefix = np.asarray(trained(speech.test.x[heard, :steps]))
        np.testing.assert_allclose(outputs[heard, steps - 1], prefix, atol=1e-5)
    padded = np.asarray(trained(speech.test.x))
    last = outputs[np.arange(len(padded)), speech.test.lengths - 1]
    np.testing.assert_allclose(last, padded, atol=1e-5)


def test_int8_weights_cost_at_most_half_a_point(speech, files):
    accuracies = {
        q: accuracy(streamed(path, speech.test), speech.test) for q, path in files.items()
    }
    assert accuracies["none"] > 0.9
    assert abs(accuracies["dynamic"] - accuracies["none"]) <= 0.005


def whole_steps(data):
    """The sequences, cut to an even number of frames, by length."""
    for length in range(2, data.x.shape[1] + 1, 2):
        which = np.flatnonzero(data.lengths // 2 * 2 == length)
        if len(which):
            yield data.x[which, :length], data.y[which]


def test_a_convolutional_spotter_hears_on_the_device_what_keras_hears(speech, tmp_path):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((None, 12)),
        keras.layers.Conv1D(24, 5, strides=2, padding="causal", use_bias=False),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        kgated.GRU(24),
        keras.layers.Dense(9, activation="softmax"),
    ]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    for _ in range(15):
        for x, y in whole_steps(speech.train):
            model.train_on_batch(x, y)
    right = [np.asarray(model(x)).argmax(-1) == y for x, y in whole_steps(speech.test)]
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=speech.train)
    assert conversion.manifest.frames_per_step == 2
    test = SequenceData(speech.test.x, speech.test.lengths, speech.test.y)
    report = check(tmp_path / "m.tflite", test)
    assert report.passed
    assert report.accuracy == np.concatenate(right).mean() > 0.75
