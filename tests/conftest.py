"""What every test may use."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Random numbers, the same in each run."""
    return np.random.default_rng(0)
