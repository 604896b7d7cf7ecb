"""Paired comparisons of two models on the same test sequences."""

import numpy as np
import pytest

from kgated.compare.significance import compare_pairs, mcnemar


def test_the_bootstrap_tells_a_difference_from_noise(rng):
    best = np.ones((2, 200), bool)
    worse = rng.random((2, 200)) < 0.8
    pair = compare_pairs(best, worse)
    assert pair.difference == pytest.approx(1 - worse.mean())
    assert 0.1 < pair.low < pair.difference < pair.high < 0.35
    assert not pair.is_noise
    a, b = rng.random((2, 3, 200)) < 0.8
    assert compare_pairs(a, b).is_noise
    # Ten people of 20 sequences each: fewer independent draws, a wider interval.
    person = np.repeat(np.arange(10), 20)
    clustered = (person % 5 > 0)[None]
    single, together = (compare_pairs(best[:1], clustered, groups) for groups in (None, person))
    assert together.high - together.low > 2 * (single.high - single.low)


def test_mcnemar_is_the_exact_test():
    from scipy.stats import binomtest

    for first, second in ((0, 0), (3, 9), (9, 3), (5, 5), (0, 6)):
        count = first + second
        expected = binomtest(first, count).pvalue if count else 1.0
        assert mcnemar(first, second) == pytest.approx(expected)
