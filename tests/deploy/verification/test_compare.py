"""Reports of agreement against hand-counted values."""

import numpy as np
import pytest

from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.compare import (
    Agreement,
    agreement,
    check_exact,
    check_not_broken,
    check_tolerance,
    merge_reports,
)
from kgated.errors import ConversionError

INT8 = Recipe(quantize="int8")


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


def test_a_constant_answer_agrees_in_the_most_frequent_decision():
    reference = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]])
    assert agreement(reference, reference).constant_agreement == 0.75


@pytest.mark.parametrize(
    "report",
    [
        Agreement(2e-4, 1e-6, 1.0, 1.0, 10),
        Agreement(5e-5, 4e-5, 1.0, 1.0, 10),
        Agreement(np.nan, np.nan, 1.0, 1.0, 10),
        Agreement(5e-5, 1e-5, 1.0, 1e-3, 10, relative_rmse=0.02),  # of outputs that are small
        Agreement(5e-5, 1e-6, 1.0, 0.01, 10),  # of one of them alone
    ],
)
def test_a_float_file_has_to_be_exact(report):
    with pytest.raises(ConversionError, match="the float file disagrees"):
        check_exact(report, "this")


def test_rounding_of_floats_is_no_error():
    check_exact(Agreement(9e-5, 1e-5, 1.0, 1.0, 10, relative_rmse=1e-4), "this")
    check_exact(Agreement(9e-7, 9e-7, 1.0, 1e-6, 10, relative_rmse=0.5), "this")


def test_a_file_with_a_large_error_is_not_reported_as_broken():
    check_not_broken(Agreement(5.0, 2.0, 0.6, 9.0, 10, 1.2, constant_agreement=0.5), INT8, "this")
    check_not_broken(Agreement(9.0, 4.0, 0.4, 9.0, 10, 0.9, constant_agreement=0.5), INT8, "this")
    check_not_broken(Agreement(0.1, 0.01, 0.4, 1.0, 10, 3.0, constant_agreement=0.5), INT8, "this")


def test_a_file_worse_than_a_constant_answer_is_refused():
    report = Agreement(9.0, 4.0, 0.5, 9.0, 10, 1.2, constant_agreement=0.5)
    with pytest.raises(ConversionError, match=r"disagrees .* more than that of a constant answer"):
        check_not_broken(report, INT8, "this")
    with pytest.raises(ConversionError, match="not finite"):
        check_not_broken(Agreement(np.nan, np.nan, 1.0, 1.0, 10), INT8, "this")


def test_a_tolerance_is_of_the_spread():
    report = Agreement(0.5, 0.2, 1.0, 9.0, 10, 0.2)
    check_tolerance(report, 0.2, "this")
    with pytest.raises(ConversionError, match=r"0\.2 of the spread of the output, and `tolerance`"):
        check_tolerance(report, 0.19, "this")
    with pytest.raises(ConversionError, match=r"`tolerance` allows 0\.01"):
        check_tolerance(Agreement(0.5, 0.2, 1.0, 10.0, 10), 0.01, "this")
