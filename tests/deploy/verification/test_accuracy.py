"""The accuracy of a file beside that of its Keras model."""

import keras
import numpy as np
import pytest
from kgated_edge import SequenceData
from kgated_edge.errors import DataError

import kgated
from kgated.deploy.verification.accuracy import evaluate_both


@pytest.fixture
def data(rng):
    """Sequences of two lengths whose label is the larger of two features at the last frame."""
    x = rng.normal(size=(40, 9, 2)).astype(np.float32)
    lengths = np.where(np.arange(40) % 2, 9, 6)
    return SequenceData(x, lengths, x[np.arange(40), lengths - 1].argmax(-1))


def last_frame_model(sign=1.0):
    model = keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(2)])
    model.layers[0].set_weights([sign * np.eye(2, dtype=np.float32), np.zeros(2, np.float32)])
    return model


def test_both_models_are_judged_by_the_same_task(data, tmp_path):
    kgated.to_tflite(last_frame_model(-1.0), tmp_path / "wrong.tflite")
    evaluation = evaluate_both(last_frame_model(), tmp_path / "wrong.tflite", data)
    assert evaluation.keras.accuracy == 1.0
    assert evaluation.file.accuracy == 0.0
    assert evaluation.accuracy_lost == 1.0
    assert evaluation.sequences == 40


@pytest.mark.parametrize("options", [{}, {"mode": "sequence", "max_length": 9}])
def test_a_float_file_of_a_recurrent_model_decides_as_keras(options, data, tmp_path):
    model = keras.Sequential([keras.Input((None, 2)), kgated.GRU(4), keras.layers.Dense(2)])
    kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    evaluation = evaluate_both(model, tmp_path / "m.tflite", data)
    assert 0.0 < evaluation.keras.accuracy < 1.0
    assert evaluation.accuracy_lost == 0.0
    assert evaluation.keras.confusion == evaluation.file.confusion


def test_data_without_labels_are_refused(data, tmp_path):
    kgated.to_tflite(last_frame_model(), tmp_path / "m.tflite")
    unlabelled = SequenceData(data.x, data.lengths, None)
    with pytest.raises(DataError, match="no `y`"):
        evaluate_both(last_frame_model(), tmp_path / "m.tflite", unlabelled)
