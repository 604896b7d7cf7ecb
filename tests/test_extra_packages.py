"""A package of the extra `test` that is missing is an error wherever Keras is installed."""

import extra_packages
import pytest

MISSING = "kgated_package_that_nobody_has"


def test_a_missing_package_is_an_error_beside_keras():
    with pytest.raises(ModuleNotFoundError, match=MISSING):
        extra_packages.required(MISSING)


def test_a_missing_package_is_a_skip_with_its_reason_without_keras(monkeypatch):
    monkeypatch.setattr(extra_packages, "find_spec", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match=f"NOT TESTED: {MISSING} is missing"):
        extra_packages.required(MISSING)
