"""Reports of agreement against hand-counted values."""

import numpy as np
import pytest

from kgated.deploy.verification.compare import agreement, merge_reports


def test_rmse_is_relative_to_the_spread_of_the_reference():
    reference = np.array([[1.0, 100.0], [3.0, 100.0]])
    report = agreement(reference, reference + 0.1)
    assert report.rmse == pytest.approx(0.1)
    assert report.relative_rmse == pytest.approx(0.1 / np.sqrt((1.0 + 0.0) / 2))


def test_constant_outputs_have_no_relative_rmse():
    assert agreement(np.ones((3, 2)), np.zeros((3, 2))).relative_rmse is None


def test_a_probability_decides_at_one_half():
    reference = np.array([[0.1], [0.4], [0.6], [0.9]])
    report = agreement(reference, np.array([[0.2], [0.6], [0.7], [0.4]]))
    assert report.top1_agreement == 0.5


def test_a_number_that_is_no_probability_decides_nothing():
    assert agreement(np.array([[-1.0], [2.0]]), np.array([[1.0], [-2.0]])).top1_agreement == 1.0


def test_merged_reports_keep_the_largest_error():
    small = agreement(np.array([[0.0, 1.0]] * 3), np.array([[1.0, 0.0]] * 3))
    large = agreement(np.array([[0.0, 2.0]]), np.array([[0.0, 2.0]]))
    report = merge_reports([small, large])
    assert (report.max_abs_error, report.largest_output, report.results) == (1.0, 2.0, 4)
    assert report.top1_agreement == 0.25
    assert report.relative_rmse is None
    assert np.isnan(
        merge_reports([large, agreement(np.ones((1, 1)), np.full((1, 1), np.nan))]).rmse
    )
