"""Functions of one tensor by others of `keras.ops`, against NumPy in float64."""

import math

import numpy as np
import pytest

from kgated.builtin_functions import OF_NUMBERS, erf

FROM = {"arcsin": (-1, 1), "arccos": (-1, 1), "arctanh": (-0.999, 0.999), "arccosh": (1.001, 9)}
FUNCTIONS = {**OF_NUMBERS, "erf": erf}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_that_of_numpy(name):
    low, high = FROM.get(name, (-6, 6))
    x = np.unique(np.r_[np.linspace(low, high, 2001), np.linspace(max(low, -0.2), 0.2, 401)])
    x = x[(x >= low) & (x <= high)].astype(np.float32)
    exact = np.vectorize(math.erf)(x) if name == "erf" else getattr(np, name)(x.astype(float))
    away = np.abs(x % np.pi - np.pi / 2) > 0.05 if name == "tan" else np.ones(len(x), bool)
    result = np.asarray(FUNCTIONS[name](x))
    np.testing.assert_allclose(result[away], exact[away], rtol=2e-5, atol=1e-6)
