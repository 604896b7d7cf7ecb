"""Paired comparisons of two models on the same test sequences."""

import numpy as np
import pytest

from kgated.compare.significance import compare_pairs, sign_test
from kgated.study.tasks.metrics import ACCURACY, RMSE, Scores


def decisions(right):
    """The scores of decisions (seeds, N)."""
    return Scores(np.asarray(right, float), np.ones(np.shape(right)[1]))


def test_the_bootstrap_distinguishes_a_difference_from_noise(rng):
    best, worse = np.ones((2, 200), bool), rng.random((2, 200)) < 0.8
    pair = compare_pairs(decisions(best), decisions(worse), ACCURACY)
    assert pair.difference == pytest.approx(1 - worse.mean())
    assert 0.1 < pair.low < pair.difference < pair.high < 0.35
    assert not pair.is_noise
    a, b = rng.random((2, 3, 200)) < 0.8
    assert compare_pairs(decisions(a), decisions(b), ACCURACY).is_noise
    # Ten people of 20 sequences each: fewer independent draws, a wider interval.
    person = np.repeat(np.arange(10), 20)
    clustered = decisions((person % 5 > 0)[None])
    single, together = (
        compare_pairs(decisions(best[:1]), clustered, ACCURACY, groups) for groups in (None, person)
    )
    assert together.high - together.low > 2 * (single.high - single.low)


def test_lower_errors_are_better_and_longer_sequences_weigh_more():
    counts = np.array([1.0, 3.0] * 20)
    small, large = (Scores(np.tile([[a, 3 * b]], 20), counts) for a, b in ((1, 4), (1, 9)))
    assert small.values(RMSE) == pytest.approx([np.sqrt(13 / 4)])
    pair = compare_pairs(small, large, RMSE)
    assert pair.difference == pytest.approx(np.sqrt(28 / 4) - np.sqrt(13 / 4))
    assert 0 < pair.low < pair.difference < pair.high
    assert (pair.only_first, pair.only_second) == (20, 0)
    assert compare_pairs(large, small, RMSE).high < 0


def test_the_sign_test_is_exact():
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 9), (9, 3), (5, 5), (0, 6)):
        count = first + second
        expected = binomtest(first, count).pvalue if count else 1.0
        assert sign_test(first, second) == pytest.approx(expected)
