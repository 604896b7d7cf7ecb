"""What the tests of conversion share."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_initial_weights():
    """A limit on a quantized error is one for given weights: each test starts from one seed."""
    keras.utils.set_random_seed(20)
