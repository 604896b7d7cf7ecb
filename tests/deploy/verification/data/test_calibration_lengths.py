"""int8 files for padded sequences whose calibration knows one length only."""

import keras
import numpy as np
import pytest
from kgated_edge import SequenceModel

from kgated import to_tflite

FRAMES, FEATURES = 12, 4


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    frames = keras.Input((None, FEATURES))
    hidden = keras.layers.GRU(6, return_sequences=True)(keras.layers.Masking()(frames))
    pooled = keras.layers.GlobalAveragePooling1D()(hidden)
    return keras.Model(frames, keras.layers.Dense(3)(pooled))


def test_short_sequences_do_not_saturate_after_calibration_on_full_ones(model, tmp_path):
    """Means over a few frames spread wider than those over all, and saturate outside of the ranges.

    Without shorter sequences among the samples, the error at one frame is 0.31.
    """
    rng = np.random.default_rng(5)
    full = rng.normal(size=(80, FRAMES, FEATURES)).astype(np.float32)
    options = {"mode": "sequence", "max_length": FRAMES, "quantize": "int8"}
    to_tflite(model, tmp_path / "m.tflite", calibration=full, **options)
    edge = SequenceModel(tmp_path / "m.tflite")
    for length, limit in ((1, 0.2), (FRAMES, 0.1)):
        x = np.random.default_rng(7).normal(size=(60, length, FEATURES)).astype(np.float32)
        expected = np.asarray(model(x))
        measured = np.stack([np.ravel(edge.run(frames)) for frames in x])
        error = np.sqrt(np.mean((measured - expected) ** 2)) / expected.std()
        assert error < limit, f"at {length} frames"
