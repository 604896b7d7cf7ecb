"""`check` on converted files of what people train, against Keras and scikit-learn."""

import keras
import numpy as np
import pytest
from kgated_edge import check
from model_builders import sequential

import kgated

metrics = pytest.importorskip("sklearn.metrics")

N, T, F, OUTPUTS = 12, 5, 5, 3
MODES = [{"mode": "stream"}, {"mode": "sequence", "length": T}]


@pytest.fixture
def x(rng):
    return 3.0 * rng.normal(size=(N, T, F))


def converted(activation, options, path):
    keras.utils.set_random_seed(3)
    model = sequential(kgated.LSTM(4), keras.layers.Dense(OUTPUTS, activation=activation))
    kgated.to_tflite(model, path, **options)
    return model


@pytest.mark.parametrize("options", MODES, ids=["stream", "sequence"])
def test_a_forecast_of_several_steps(options, x, rng, tmp_path):
    path = tmp_path / "m.tflite"
    predicted = converted(None, options, path).predict(x, verbose=0)
    y = predicted + rng.normal(size=predicted.shape)
    result = check(path, {"x": x, "y": y}, max_mae=0.1, max_rmse=10.0)
    quality = result.quality
    assert quality.task == "regression"
    assert quality.mae == pytest.approx(metrics.mean_absolute_error(y, predicted), rel=1e-4)
    assert quality.rmse == pytest.approx(metrics.mean_squared_error(y, predicted) ** 0.5, rel=1e-4)
    (failure,) = result.failures
    assert "mean absolute error" in failure


@pytest.mark.parametrize("options", MODES, ids=["stream", "sequence"])
def test_several_labels(options, x, rng, tmp_path):
    path = tmp_path / "m.tflite"
    predicted = converted("sigmoid", options, path).predict(x, verbose=0) > 0.5
    y = predicted ^ (rng.random(predicted.shape) < 0.2)
    y[0] = True  # not one-hot
    quality = check(path, {"x": list(x), "y": y.astype(int)}).quality
    assert quality.task == "multi-label"
    assert quality.f1_macro == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    assert quality.f1_micro == pytest.approx(metrics.f1_score(y, predicted, average="micro"))
    assert quality.subset_accuracy == pytest.approx(metrics.accuracy_score(y, predicted))


def test_class_probabilities(x, tmp_path):
    path = tmp_path / "m.tflite"
    probabilities = converted("softmax", MODES[0], path).predict(x, verbose=0)
    assert check(path, {"x": x, "y": probabilities}).quality.accuracy == 1.0
    wrong = np.roll(probabilities, 1, axis=1)
    assert check(path, {"x": x, "y": wrong}).quality.accuracy < 0.5
