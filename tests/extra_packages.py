"""Packages of the extra `test`, which an environment of kgated-edge and pytest alone lacks."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import pytest


def required(module: str) -> ModuleType:
    """The module; without it the test is skipped, but only where Keras is missing as well.

    In an environment of kgated a missing package is an error, since the test would never run.
    """
    if find_spec("keras") is not None:
        return import_module(module)
    reason = f"NOT TESTED: {module} is missing; kgated[test] has it, kgated-edge alone does not"
    return pytest.importorskip(module, reason=reason)
