"""What a conversion reports of its cost, warns of, and refuses."""

import keras
import numpy as np
import pytest
from kgated_edge import load_npz
from kgated_edge.evaluation.metrics import Quality

import kgated
from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.accuracy import Evaluation
from kgated.deploy.verification.compare import Agreement
from kgated.deploy.verification.judge import Judgement, warn_of_cost
from kgated.deploy.verification.layer_costs import LayerCost
from kgated.errors import ConversionError

GOOD = Agreement(0.01, 0.001, 1.0, 1.0, 10, 0.01)


def judgement(evaluation=None, **changes):
    return Judgement(GOOD, {"output": Agreement(**{**vars(GOOD), **changes})}, evaluation)


def evaluation(keras_accuracy, file_accuracy):
    return Evaluation(Quality("classes", keras_accuracy), Quality("classes", file_accuracy), 100)


@pytest.mark.parametrize(
    ("costly", "message"),
    [
        (judgement(relative_rmse=0.2), "RMSE is 20% of the spread"),
        (judgement(top1_agreement=0.9), r"90.0% of the decisions are Keras's"),
        (judgement(evaluation(0.95, 0.91)), "accuracy is 91.0% instead of 95.0%"),
    ],
)
def test_a_warning_names_the_layer_that_loses_most(costly, message):
    worst = LayerCost("gru", Agreement(**{**vars(GOOD), "rmse": 0.002}), 0.1)
    with pytest.warns(UserWarning, match=rf"{message}.*`gru` costs most.*skip=\[\"gru\"\]"):
        warn_of_cost(costly, Recipe(quantize="int8"), lambda: [worst])


def test_a_layer_that_would_save_little_in_float_is_not_named():
    """Of three layers that lose alike, none is the cause."""
    little = LayerCost("gru", Agreement(**{**vars(GOOD), "rmse": 0.096}), 0.0004)
    with pytest.warns(UserWarning, match=r"of the spread.*kgated\.quantize_aware") as warned:
        warn_of_cost(judgement(relative_rmse=0.2), Recipe(quantize="int8"), lambda: [little])
    assert "skip" not in str(warned[0].message)


def test_a_quantization_without_loss_measures_no_layer():
    warn_of_cost(judgement(evaluation(0.95, 0.945)), Recipe(quantize="int8"), pytest.fail)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    last = keras.layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((None, 4)), kgated.GRU(6), last])


def test_evaluation_sequences_with_labels_give_the_accuracy_of_both(model, rng, tmp_path):
    x = rng.normal(size=(30, 6, 4)).astype(np.float32)
    y = np.asarray(model(x)).argmax(axis=-1)
    np.savez(tmp_path / "test.npz", x=x[10:], y=y[10:])
    for data in ((x[10:], y[10:]), load_npz(tmp_path / "test.npz"), str(tmp_path / "test.npz")):
        conversion = kgated.to_tflite(model, tmp_path / "m.tflite", evaluation=data)
        assert conversion.evaluation.keras.accuracy == 1.0
        assert conversion.evaluation.accuracy_lost == 0.0
        assert conversion.evaluation.sequences == 20
        assert conversion.agreement.results == 20
    assert Evaluation.from_dict(
        {"keras": {"task": "classes"}, "file": {"task": "classes"}, "sequences": 1}
    ) == Evaluation(Quality("classes"), Quality("classes"), 1)


def test_labels_that_do_not_fit_are_refused_at_once(model, rng, tmp_path):
    x = rng.normal(size=(4, 6, 4)).astype(np.float32)
    with pytest.raises(ValueError, match=r"`y` must be in 0\.\.2"):
        kgated.to_tflite(model, tmp_path / "m.tflite", evaluation=(x, np.array([0, 1, 2, 7])))


def test_numbers_are_judged_in_their_units(rng, tmp_path):
    layers = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
    model = keras.Sequential(
        [keras.Input((None, 2)), kgated.GRU(4, return_sequences=True), *layers]
    )
    x = rng.normal(size=(8, 5, 2)).astype(np.float32)
    y = np.asarray(model(x))[:, 0] + 2.0
    options = {"mode": "sequence", "length": 5, "evaluation": (x, y.astype(np.float32))}
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    assert conversion.evaluation.accuracy_lost is None
    assert conversion.evaluation.file.mae == pytest.approx(2.0, abs=1e-3)


def test_a_file_over_the_tolerance_is_not_written(model, rng, tmp_path):
    x = rng.normal(size=(8, 6, 4)).astype(np.float32)
    options = {"quantize": "int8", "calibration": x}
    with pytest.raises(ConversionError, match="`tolerance` allows 1e-05; nothing was written"):
        kgated.to_tflite(model, tmp_path / "m.tflite", **options, tolerance=1e-5)
    assert not list(tmp_path.iterdir())
    kgated.to_tflite(model, tmp_path / "m.tflite", **options, tolerance=5.0)
