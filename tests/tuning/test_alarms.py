"""A threshold for so many false alarms a day, for a model that predicts its next frame."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, EventStream, read_manifest
from typer.testing import CliRunner

import kgated
from kgated.tuning import tune_alarms
from kgated.tuning.alarms import count_alarms
from kgated.tuning.operating_points import smoothed
from kgated_cli.app import app


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    keras.utils.set_random_seed(1)  # before the initializers, which draw their seeds
    layers = [keras.Input((None, 3)), kgated.LSTM(4, return_sequences=True), keras.layers.Dense(3)]
    path = tmp_path_factory.mktemp("model") / "predictor.tflite"
    kgated.to_tflite(keras.Sequential(layers), path, sample_period_s=1.0)
    return path


@pytest.fixture
def normal(tmp_path):
    """Six hours of frames, one a second."""
    path = tmp_path / "normal.npy"
    np.save(path, np.random.default_rng(3).normal(size=(21_600, 3)).astype(np.float32))
    return path


def test_alarms_are_counted_where_there_are_enough(predictor, normal):
    alarms = tune_alarms(predictor, normal, 80.0, refractory_s=5.0)
    assert not alarms.extrapolated
    assert alarms.hours == pytest.approx(6.0)
    assert alarms.alarms == 20  # a quarter of a day
    frames = np.load(normal)
    stream = EventStream(EdgeModel(predictor), alarms.settings)
    events = [event for frame in frames for event in stream.step(frame)] + [*stream.finish()]
    assert len(events) == 20
    assert {event.label for event in events} == {"anomaly"}


def test_few_alarms_follow_from_the_tail(predictor, normal):
    counted = tune_alarms(predictor, normal, 80.0)
    rare, rarer = (tune_alarms(predictor, normal, rate) for rate in (4.0, 0.5))
    levels = [a.settings.classes["anomaly"].on for a in (counted, rare, rarer)]
    assert levels == sorted(levels)
    assert rare.extrapolated
    assert rarer.extrapolated
    # Errors of normal frames fall off faster than the exponential tail: the estimate is cautious.
    more = np.random.default_rng(4).normal(size=(86_400, 3)).astype(np.float32)
    model = EdgeModel(predictor)
    predicted = model.run(more)
    errors = np.sqrt(((more[1:] - predicted[:-1]) ** 2).mean(1, keepdims=True))
    values = smoothed(errors, rare.settings, 1.0)[:, 0]
    assert 0 < count_alarms([values], levels[1], rare.settings, 1.0) <= 8


def test_the_command_writes_the_threshold(predictor, normal):
    content = predictor.read_bytes()
    arguments = ["tune", str(predictor), str(normal), "--false-alarms-per-day", "80"]
    result = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert predictor.read_bytes() == content
    result = CliRunner().invoke(app, arguments)
    assert "for 80 false alarms a day, counted; 20 alarms in the 6 hours" in result.stdout
    settings = read_manifest(predictor).events
    assert settings.score == "prediction"
    assert list(settings.classes) == ["anomaly"]


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rates_that_cannot_be(predictor, normal, rate):
    with pytest.raises(EdgeError, match="must be above 0 and finite"):
        tune_alarms(predictor, normal, rate)


def test_the_scores_of_classes_are_no_errors(predictor, normal):
    with pytest.raises(EdgeError, match=r"must be 'prediction' or 'reconstruction' for alarms"):
        tune_alarms(predictor, normal, 1, score="output")
