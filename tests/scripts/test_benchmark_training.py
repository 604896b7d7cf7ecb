"""The benchmark of training says what it measured, and what it skipped."""

import importlib.util
import json
from pathlib import Path

import keras
import pytest
import typer
from typer.testing import CliRunner

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_training.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_training", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.COPIES = 1
    return module


@pytest.fixture(scope="module")
def run(benchmark, tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "rows.json"
    app = typer.Typer()
    app.command()(benchmark.main)
    done = CliRunner().invoke(app, ["--smallest", "--repeats", "4", "--json", str(path)])
    assert done.exit_code == 0, done.output
    return done.output, json.loads(path.read_text())


def test_every_pair_has_both_rows(benchmark, run):
    _, result = run
    actual = [(row["layer"], row["work"]) for row in result["rows"]]
    works = ("forward", "train")
    assert actual == [(pair.name, work) for pair in benchmark.PAIRS for work in works]
    assert len(actual) == 8


def test_ratio_is_ours_over_keras(run):
    _, result = run
    for row in result["rows"]:
        assert row["ratio"] == row["ours_ms_p50"] / row["keras_ms_p50"]
        assert row["keras_ms_p50"] > 0.0
        assert row["backend"] == keras.backend.backend()
        assert row["target"] in (1.0, 1.1)
    assert result["tools"]["keras"] == keras.__version__


def test_skipped_rows_are_reported(run):
    output, result = run
    assert "SKIPPED: GPU rows" in output
    assert len(result["skipped"]) == 1


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_pytorchs_own_layer_is_run_too(benchmark, policy):
    runs = benchmark.torch_runs("LSTM", (2, 5, 3, 4), policy, device="cpu")
    assert runs["forward"]().shape == (2, 4)
    losses = [runs["train"]() for _ in range(20)]
    assert losses[-1] < losses[0]


def test_medians_see_a_slower_run(benchmark):
    fast = {"train": lambda: None}
    slow = {"train": lambda: sum(range(200_000))}
    actual = benchmark.medians_ms({"fast": [fast, fast], "slow": [slow]}, repeats=5)
    assert actual["slow"]["train"] > 10.0 * actual["fast"]["train"]


def test_both_layers_of_a_pair_compute_the_same(benchmark, rng):
    """Else their times say nothing. But for what z weighs in our default GRU: the same work."""
    x = keras.ops.convert_to_tensor(rng.normal(size=(2, 5, 3)).astype("float32"))
    for pair in benchmark.PAIRS:
        reference, timed = pair.keras(4), pair.ours(4)
        reference.build((None, 5, 3))
        gated = type(timed).from_keras(reference)
        config, expected = gated.get_config(), timed.get_config()
        differing = {k for k in config if config[k] != expected[k]} - {"name"}
        assert differing == ({"update_gate"} if pair.name == "GRU" else set())
        assert abs(keras.ops.convert_to_numpy(gated(x) - reference(x))).max() <= 1e-6
