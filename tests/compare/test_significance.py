"""Paired comparisons of two models on the same test sequences."""

import numpy as np
import pytest

from kgated.compare.significance import compare_pairs, permutation_test, sign_test
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


@pytest.mark.parametrize("number", [6, 12, 30])
def test_the_permutation_test_is_that_of_scipy(rng, number):
    from scipy.stats import permutation_test as expected_test

    gains = rng.normal(0.3, 1.0, number)
    expected = expected_test(
        (gains, np.zeros(number)),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        n_resamples=20_000,
        rng=0,
    )
    assert permutation_test(gains, rng) == pytest.approx(expected.pvalue, abs=0.02)


def test_few_sequences_that_differ_are_noise():
    """Five of 40 sequences, in each of three seeds: the interval alone would exclude 0."""
    best, worse = np.ones((3, 40), bool), np.ones((3, 40), bool)
    worse[:, :5] = False
    pair = compare_pairs(decisions(best), decisions(worse), ACCURACY)
    assert pair.low > 0
    assert pair.permutation_p == pytest.approx(1 / 16, abs=0.02)  # 2 of 2⁵ combinations
    assert pair.is_noise
    assert not pair.is_gain


def test_the_permutation_exchanges_groups_and_needs_six_of_them():
    best, worse = np.ones((1, 60), bool), np.ones((1, 60), bool)
    worse[:, ::2] = False
    pairs = [
        compare_pairs(decisions(best), decisions(worse), ACCURACY, np.arange(60) % groups)
        for groups in (3, 5, 15)
    ]
    assert [pair.permutation_p is None for pair in pairs] == [True, True, False]
    assert pairs[2].permutation_p < 0.01
    assert pairs[2].is_gain


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_few_groups_are_noise(groups):
    """However large the difference: all signs are equal in at least 1 of 16 permutations."""
    best, worse = np.ones((3, 60), bool), np.zeros((3, 60), bool)
    pair = compare_pairs(decisions(best), decisions(worse), ACCURACY, np.arange(60) % groups)
    assert (pair.units, pair.low) == (groups, 1.0)
    assert pair.has_few_units
    assert pair.is_noise


def test_one_sequence_is_judged_by_its_seeds():
    best, worse = decisions([[1.0], [0.9]]), decisions([[0.2], [0.3]])
    pair = compare_pairs(best, worse, ACCURACY)
    assert pair.is_gain
    assert not pair.has_few_units
