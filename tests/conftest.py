"""What every test may use."""

import gc
import os
import random
import sys
from pathlib import Path
from unittest import mock

import pytest

# A thread each: the models are tiny, and several processes share the cores. Read at the imports.
for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# What JAX compiles here runs a few times: to optimize it takes longer than it gains.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")

import numpy as np  # noqa: E402 - after the numbers of threads

TESTS = Path(__file__).parent
# Warnings that other packages raise from their own code, each with where it comes from.
OF_OTHERS = [
    # Keras's variables hand NumPy 2 an `__array__` without its `copy` argument.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras",
]


# The files that take longest begin first: at the end each process would run one of them alone.
LONGEST = (
    "test_backends.py",
    "docs/test_tutorials.py",
    "search/test_search.py",
    "training/test_distribution.py",
    "test_minimal_cells.py",
    "scripts/test_inject_faults.py",
    "scripts/test_build_release.py",
)


def pytest_configure(config):
    for warning in OF_OTHERS:
        config.addinivalue_line("filterwarnings", warning)
    if hasattr(config.option, "loadscopereorder"):  # of pytest-xdist: files with many tests first
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    paths = [TESTS / name for name in LONGEST]
    assert all(path.exists() for path in paths), f"a file of {LONGEST} has another name"
    items.sort(key=lambda item: paths.index(item.path) if item.path in paths else len(paths))


def pytest_collectstart(collector):
    """Layers that a module builds while it is imported draw the same seeds in each run."""
    if isinstance(collector, pytest.Module):
        random.seed(0)


@pytest.fixture(autouse=True, scope="module")
def _short_garbage_collections():
    """What stays of imports and of older modules is left out of the collections of this one.

    Thousands of tests leave graphs of TensorFlow, and to walk through all takes seconds.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def rng():
    """Random numbers, the same in each run."""
    return np.random.default_rng(0)


@pytest.fixture
def x(rng, request):
    """Float32 noise of the shape that the test's file sets as `X_SHAPE`."""
    return rng.normal(size=request.module.X_SHAPE).astype(np.float32)


# The modules of tests for which TensorFlow's seed was set.
_seeded: set[str] = set()


@pytest.fixture(autouse=True)
def same_initial_weights(request):
    """Keras draws the same weights in each run, where a test uses Keras.

    The seed of TensorFlow itself, which Keras's initializers do not read, is set once a module: to
    set it drops the kernels of all operations, and to prepare them again took half of the time.
    """
    keras = sys.modules.get("keras")
    if keras is None:
        return
    if request.module.__name__ not in _seeded:
        _seeded.add(request.module.__name__)
        _leave_graphs_as_traced()
        keras.utils.set_random_seed(0)
        return
    with mock.patch("tensorflow.random.set_seed"):
        keras.utils.set_random_seed(0)


def _leave_graphs_as_traced():
    """What TensorFlow compiles here runs a few times: to optimize it takes longer than it gains."""
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="module")
def database():
    """The address of a database on a private PostgreSQL server."""
    from postgresql import server

    with server() as address:
        yield address


@pytest.fixture(params=["journal", "postgresql"])
def storage(request):
    """The address of a storage of trials; None: a journal file."""
    return None if request.param == "journal" else request.getfixturevalue("database")
