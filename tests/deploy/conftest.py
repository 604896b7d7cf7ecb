"""What the tests of conversion share."""

import keras
import pytest

from kgated.deploy import convert
from kgated.deploy.quantization.worker_job import quantized_file


@pytest.fixture(autouse=True)
def _same_initial_weights():
    """A limit on a quantized error is one for given weights: each test starts from one seed."""
    keras.utils.set_random_seed(20)


@pytest.fixture
def in_process(monkeypatch):
    """Static quantization without a process of its own, which takes seconds to start."""
    monkeypatch.setattr(convert, "quantize_in_worker", quantized_file)
