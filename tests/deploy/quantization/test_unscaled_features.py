"""Features of unlike size, not scaled: a stream of integers computes what its sequence does."""

import keras
import numpy as np
from kgated_edge import EdgeModel, SequenceModel
from registry import randomized

import kgated

TIME = 12


def test_a_simple_rnn_of_unscaled_features_streams_as_its_sequence_runs(rng, tmp_path):
    layers = [keras.layers.SimpleRNN(6), keras.layers.Dense(2)]
    model = randomized(keras.Sequential([keras.Input((None, 3)), *layers]), rng)
    x = rng.normal(size=(8, TIME, 3)) * [200, 1, 30] + [1000, 0, 50]
    x = x.astype(np.float32)
    stream, sequence = tmp_path / "stream.tflite", tmp_path / "sequence.tflite"
    options = {"quantize": "int16x8", "calibration": x}
    kgated.to_tflite(model, stream, **options)
    kgated.to_tflite(model, sequence, mode="sequence", length=TIME, lowering="while", **options)
    last = np.stack([EdgeModel(stream).run(frames)[-1] for frames in x])
    sequence_results = np.stack([SequenceModel(sequence).run(frames) for frames in x])
    wanted = np.asarray(model(x))
    np.testing.assert_allclose(last, sequence_results, atol=0.002 * wanted.std())
    assert np.sqrt(np.mean((last - wanted) ** 2)) < 0.05 * wanted.std()
