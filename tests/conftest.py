"""What every test may use."""

import os
import random
import sys

import pytest

# A thread each: the models are tiny, and several processes share the cores. Read at the imports.
for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 - after the numbers of threads

# Warnings that other packages raise from their own code, each with where it comes from.
OF_OTHERS = [
    # Keras's variables hand NumPy 2 an `__array__` without its `copy` argument.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras",
]


def pytest_configure(config):
    for warning in OF_OTHERS:
        config.addinivalue_line("filterwarnings", warning)


def build_before_the_first_step():
    """Keras builds metrics and optimizer before it traces the first step of a training or test.

    On TensorFlow it creates their variables in the first trace, which has to be repeated then. On
    its other backends it builds them before; a trace is most of what a tiny model's training takes.
    """
    from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

    build_distributed = TensorFlowTrainer._maybe_symbolic_build

    def build(self, **data):
        if self._distribute_strategy is None:
            self._symbolic_build(**data)
        else:
            build_distributed(self, **data)

    TensorFlowTrainer._maybe_symbolic_build = build


def pytest_collection_finish(session):
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() == "tensorflow":
        build_before_the_first_step()


def pytest_collectstart(collector):
    """Layers that a module builds while it is imported draw the same seeds in each run."""
    if isinstance(collector, pytest.Module):
        random.seed(0)


@pytest.fixture
def rng():
    """Random numbers, the same in each run."""
    return np.random.default_rng(0)


@pytest.fixture
def x(rng, request):
    """Float32 noise of the shape that the test's file sets as `X_SHAPE`."""
    return rng.normal(size=request.module.X_SHAPE).astype(np.float32)


@pytest.fixture(autouse=True)
def same_initial_weights():
    """Keras draws the same weights in each run, where a test uses Keras."""
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.set_random_seed(0)
