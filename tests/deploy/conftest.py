"""What the tests of conversion share."""

import keras
import pytest

from kgated.deploy import convert
from kgated.deploy.verification.data import sequences


@pytest.fixture(autouse=True)
def _same_initial_weights():
    """A limit on a quantized error is one for given weights: each test starts from one seed."""
    keras.utils.set_random_seed(20)


@pytest.fixture(autouse=True)
def _short_noise(monkeypatch):
    """What a conversion without data is checked on; the tests check on data of their own."""
    monkeypatch.setattr(sequences, "RANDOM_STEPS", 8)


@pytest.fixture
def lower_with(monkeypatch):
    """`lower_with(weight, value)`: the file is made of that value, the model keeps its own."""

    def change(weight, value):
        lower, before = convert.lower, keras.ops.convert_to_numpy(weight)

        def lower_another(*arguments, **options):
            weight.assign(value)
            try:
                return lower(*arguments, **options)
            finally:
                weight.assign(before)

        monkeypatch.setattr(convert, "lower", lower_another)

    return change
