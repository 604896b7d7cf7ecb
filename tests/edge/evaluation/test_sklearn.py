"""The metrics of `check` against those of scikit-learn."""

import numpy as np
import pytest
from extra_packages import required
from kgated_edge.evaluation.metrics import Classes, Frames, Numbers
from kgated_edge.evaluation.multilabel import MultiLabel

metrics = required("sklearn.metrics")

N, T, C = 11, 6, 3


def score(scorer, results):
    for n, result in enumerate(results):
        scorer.add(n, result)
    return scorer.quality()


@pytest.fixture
def lengths(rng):
    return rng.integers(1, T + 1, size=N)


@pytest.fixture
def results(rng, lengths):
    """Results (t, C) in 0..1 of sequences of different lengths."""
    return [rng.random((length, C)).astype(np.float32) for length in lengths]


def real(padded, lengths):
    return np.concatenate([row[:length] for row, length in zip(padded, lengths, strict=True)])


def assert_multilabel(quality, y, predicted):
    for average in ("micro", "macro"):
        expected = metrics.f1_score(y, predicted, average=average, zero_division=0)
        assert getattr(quality, f"f1_{average}") == pytest.approx(expected, rel=1e-12)
    assert quality.subset_accuracy == pytest.approx(metrics.accuracy_score(y, predicted))


def test_labels_of_sequences(rng, results):
    y = rng.integers(2, size=(N, C))
    last = np.stack([result[-1] for result in results])
    assert_multilabel(score(MultiLabel(y, None), results), y, last > 0.5)


def test_labels_of_frames(rng, lengths, results):
    y = rng.integers(2, size=(N, T, C))
    quality = score(MultiLabel(y, 1), results)
    assert_multilabel(quality, real(y, lengths), np.concatenate(results) > 0.5)


def test_labels_of_logits(rng, results):
    y, logits = rng.integers(2, size=(N, C)), [np.log(x / (1 - x)) for x in results]
    assert score(MultiLabel(y, None), logits) == score(MultiLabel(y, None), results)


def test_a_label_without_examples_counts_as_zero_in_the_macro_f1(results):
    y = np.zeros((N, C), int)
    y[:, 0] = 1
    flat = [np.tile(np.array([0.9, 0.1, 0.2], np.float32), (len(x), 1)) for x in results]
    quality = score(MultiLabel(y, None), flat)
    assert (quality.f1_micro, quality.subset_accuracy) == (1.0, 1.0)
    assert quality.f1_macro == pytest.approx(1 / 3)


@pytest.mark.parametrize("shape", [(N, C), (N, T, C)])
def test_regression_metrics_equal_scikit_learn(rng, lengths, results, shape):
    y = rng.normal(5.0, 3.0, size=shape)
    last = np.stack([result[-1] for result in results])
    is_single = len(shape) == 2
    targets, predicted = (y, last) if is_single else (real(y, lengths), np.concatenate(results))
    quality = score(Numbers(y, None if is_single else 1), results)
    mae = metrics.mean_absolute_error(targets, predicted, multioutput="raw_values")
    rmse = metrics.root_mean_squared_error(targets, predicted, multioutput="raw_values")
    ranges = targets.max(0) - targets.min(0)
    assert quality.mae == pytest.approx(metrics.mean_absolute_error(targets, predicted))
    assert quality.rmse == pytest.approx(metrics.mean_squared_error(targets, predicted) ** 0.5)
    assert quality.r2 == pytest.approx(metrics.r2_score(targets, predicted))
    assert quality.mae_per_output == pytest.approx(mae)
    assert quality.rmse_per_output == pytest.approx(rmse)
    assert quality.mae_of_range == pytest.approx((mae / ranges).mean())
    assert quality.rmse_of_range == pytest.approx((rmse / ranges).mean())


def test_classification(rng, lengths, results):
    y, each = rng.integers(C, size=N), rng.integers(C, size=(N, T))
    decisions = [result.argmax(-1) for result in results]
    quality = score(Classes(y, C, 1), results)
    last = np.array([row[-1] for row in decisions])
    assert quality.accuracy == pytest.approx(metrics.accuracy_score(y, last))
    assert np.array_equal(quality.confusion, metrics.confusion_matrix(y, last, labels=range(C)))
    quality = score(Frames(each, C, 1), results)
    expected = metrics.accuracy_score(real(each, lengths), np.concatenate(decisions))
    assert quality.accuracy == pytest.approx(expected)
