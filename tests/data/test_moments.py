"""Mean and variance of features: with a large offset, and constant but for rounding."""

import numpy as np
import pytest

from kgated.data.moments import constant_features, feature_moments
from kgated.models.sequence import fitted_normalization


def test_a_small_deviation_from_a_large_offset_is_not_lost(rng):
    """In float32 the sum of these frames is wrong by many times their deviation."""
    frames = (1003.3 + 0.002 * rng.normal(size=(100_000, 2))).astype(np.float32)
    mean, variance = feature_moments(frames)
    assert np.sqrt(variance) == pytest.approx(frames.std(axis=0, dtype=np.float64), rel=1e-3)
    assert mean == pytest.approx(frames.mean(axis=0, dtype=np.float64), rel=1e-7)
    assert (frames.std(axis=0) > 1.5 * np.sqrt(variance)).all(), "NumPy's are right: a weak test"
    scaled = np.asarray(fitted_normalization(frames)(frames))
    assert abs(scaled.mean()) < 0.05
    assert scaled.std(axis=0) == pytest.approx(1.0, abs=0.05)


def test_other_features_are_as_numpy_gives_them(rng):
    frames = rng.normal(9.81, 2.0, size=(500, 3)).astype(np.float32)
    mean, variance = feature_moments(frames)
    np.testing.assert_array_equal(mean, frames.mean(axis=0))
    np.testing.assert_array_equal(variance, frames.var(axis=0))


def test_a_feature_that_varies_by_rounding_is_constant(rng):
    """A constant that was resampled: the model must not blow up its last bit."""
    frames = rng.normal(size=(200, 3)).astype(np.float32)
    frames[:, 1] = 9.81
    weight = rng.uniform(size=200).astype(np.float32)
    frames[:, 2] = np.float32(9.81) * (1 - weight) + np.float32(9.81) * weight
    assert np.ptp(frames[:, 2]) > 0
    assert constant_features(frames).tolist() == [False, True, True]
    later = frames + np.float32(0.01)
    assert np.abs(np.asarray(fitted_normalization(frames)(later))[:, 1:]).max() < 0.1


def test_a_variance_beyond_float32_is_refused(rng):
    """Keras would divide by infinity, and the model would get zeros."""
    frames = rng.normal(size=(50, 2)).astype(np.float32) * np.float32([1, 1e25])
    with pytest.raises(ValueError, match=r"feature 1 \(from 0\) has values up to .*e\+25"):
        fitted_normalization(frames)
