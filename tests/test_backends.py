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

pytestmark = pytest.mark.slow  # each test starts JAX or PyTorch


def run_tests(backend, wanted, *files, **environment):
    """Runs tests in a separate process; returns how many passed."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", wanted]
        + [str(TESTS / name) for name in files],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, **environment},
        cwd=TESTS.parent,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return int(re.findall(r"(\d+) passed", run.stdout)[-1])


def test_state_is_carried_on_jax():
    """Pieces equal the whole, the gradient ends with the chunk, training learns beyond it."""
    pytest.importorskip("jax", reason="jax is not installed: this was NOT checked on it")
    wanted = "pieces_equal and (lstm or keras) or gradient_ends or further_back or masked"
    assert run_tests("jax", wanted, "training/test_recordings.py") == 6


@pytest.mark.parametrize("backend", list(SUBSET))
def test_smaller_models_train_on(backend):
    pytest.importorskip(backend)
    wanted = "wrapped or follow_the_schedule or only_these or share_values or gradients"
    wanted += " or training_continues_after_saving"
    assert (
        run_tests(
            backend,
            wanted,
            "optimize/test_pruning.py",
            "optimize/test_clustering.py",
            "optimize/qat/test_qat.py",
        )
        == 6
    )


@pytest.mark.parametrize("backend", list(SUBSET))
def test_contract_holds_on(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: the contract was NOT checked on it")
    assert {str(row) for row in EVERY_ROW} >= set(SUBSET[backend])
    rows = " ".join(SUBSET[backend])
    wanted = " or ".join(f"({name} and ({tests}))" for name, tests in COMPUTED.items())
    passed = run_tests(backend, wanted, *COMPUTED, KGATED_TEST_ROWS=rows)
    assert passed >= LEAST_PER_ROW * len(SUBSET[backend])
