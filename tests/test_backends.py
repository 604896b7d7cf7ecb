"""The contract on the other backends of Keras, each in a process of its own.

A subset, to keep the time down: on each backend the rows in `SUBSET` alone, and of the tests those
on what a layer computes (steps, values, masks, states, gradients, dropout, precision), not those on
its options, configuration and files. `KERAS_BACKEND=jax pytest tests/test_layers.py` runs all rows.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from registry import EVERY_ROW

TESTS = Path(__file__).parent
EVERYTHING = (
    "PeepholeLSTM-peephole_full-output_peephole_previous-"
    "coupled_gates-projection_units_3-layer_norm"
)
SUBSET = {
    "jax": ["LSTM", EVERYTHING, "GRU"],
    "torch": [
        "LSTM",
        "LSTM-no_use_bias",
        "LSTM-coupled_gates-projection_units_3-layer_norm",
        "PeepholeLSTM",
        EVERYTHING,
        "GRU",
        "GRU-reset_after",
        "GRU-reset_after-update_gate_state",
    ],
}
COMPUTED = {
    "test_steps.py": "equals_oracle or float32",
    "test_layers.py": "not stacked and not decoder and not time_distributed",
    "test_layer_options.py": "gradient or mixed or dropout_acts",
}
LEAST_PER_ROW = 22
# File: which of its tests, and how many these are.
SMALLER = {
    "optimize/test_pruning.py": ("wrapped or follow_the_schedule or only_these", 3),
    "optimize/test_clustering.py": ("share_values or gradients", 2),
}
# Pieces equal the whole, the gradient ends with the chunk, masked frames change no state.
CARRIED = {"training/test_recordings.py": ("pieces_equal and keras or gradient_ends or masked", 3)}
# What JAX trains in integers is converted in deploy/from_qat.
IN_INTEGERS = {"optimize/qat/test_qat.py": ("training_continues_after_saving", 1)}
# Each form of the scan; 4 forms of 5 lengths.
SCANS = {"test_minimal_cells.py": ("equals_its_steps", 20)}
COUNTED = {"jax": SMALLER | CARRIED | SCANS, "torch": SMALLER | IN_INTEGERS}

pytestmark = pytest.mark.slow  # starts JAX and PyTorch


@pytest.fixture(scope="module", params=list(SUBSET))
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: the contract was NOT checked on it")
    return request.param


def variables_of(backend, folder):
    """The environment of the process; JAX keeps what it compiled in `folder`, for equal layers."""
    cached = {
        "JAX_COMPILATION_CACHE_DIR": str(folder),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    rows = {"KERAS_BACKEND": backend, "KGATED_TEST_ROWS": " ".join(SUBSET[backend])}
    return {**os.environ, **rows, **cached}


@pytest.fixture(scope="module")
def passed(backend, tmp_path_factory):
    """The number of tests that passed on a backend, by file; all run in one process."""
    selections = COMPUTED | {name: tests for name, (tests, _) in COUNTED[backend].items()}
    wanted = [f"({Path(name).name} and ({tests}))" for name, tests in selections.items()]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "-k", " or ".join(wanted), *(str(TESTS / name) for name in selections)],
        capture_output=True,
        text=True,
        env=variables_of(backend, tmp_path_factory.mktemp("compiled")),
        cwd=TESTS.parent,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return Counter(re.findall(r"^PASSED tests/(\S+?\.py)::", run.stdout, re.M))


def test_smaller_models_train_and_state_is_carried_on(backend, passed):
    counted = {name: count for name, (_, count) in COUNTED[backend].items()}
    assert {name: passed[name] for name in counted} == counted


def test_contract_holds_on(backend, passed):
    assert {str(row) for row in EVERY_ROW} >= set(SUBSET[backend])
    assert sum(passed[name] for name in COMPUTED) >= LEAST_PER_ROW * len(SUBSET[backend])
