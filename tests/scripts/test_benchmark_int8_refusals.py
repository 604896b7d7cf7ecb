"""The benchmark of int8 refusals: its arithmetic on given numbers, its rows on a tiny task."""

import benchmark_int8_refusals as refusals
import keras
import numpy as np
import pytest

from kgated.data import DataSet, SequenceData
from kgated.errors import ConversionError
from kgated.models import sequence_classifier


def row(lost, refused=None, seed=0):
    key = {"task": "T", "cell": "GRU", "seed": seed, "refused": refused}
    return key if refused else {**key, "keras": 90.0, "lost": lost, "relative_rmse": 0.1}


def test_a_line_counts_refusals_and_files_within_three_points():
    (line,) = refusals.summary([row(0.5), row(3.5, seed=1), row(None, "why", 2)])
    assert (line["conversions"], line["refused"], line["within 3 points"]) == (3, 1, 1)
    assert (line["float, %"], line["most lost, points"]) == (90.0, 3.5)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 5, 3)).astype(np.float32)
    sequences = SequenceData(x, np.full(12, 5), np.arange(12) % 2)
    return DataSet("T", sequences, sequences, ("a", "b"), 0.01)


@pytest.fixture(scope="module")
def model(data):
    return sequence_classifier(
        keras.layers.GRU, frames=data.train.x.reshape(-1, 3), classes=2, units=4, seed=0
    )


def test_wide_logits_decide_as_before(model, data):
    scaled = refusals.wide_logits(model)
    expected, logits = (np.asarray(m(data.test.x, training=False)) for m in (model, scaled))
    shifted = np.exp(logits / refusals.WIDE)
    np.testing.assert_allclose(shifted / shifted.sum(-1, keepdims=True), expected, rtol=1e-4)


def test_a_row_has_the_accuracy_of_both_or_the_reason(model, data, tmp_path, monkeypatch):
    measured = refusals.measure(model, data, tmp_path)
    assert measured["refused"] is None
    assert 0.0 <= measured["keras"] <= 100.0

    def refuse(*arguments, **options):
        raise ConversionError("why")

    monkeypatch.setattr(refusals, "convert", refuse)
    assert refusals.measure(model, data, tmp_path) == {"refused": "why"}
