"""The script that shows which cells remember, on sequences short enough for a test."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import kgated

pytest.importorskip("matplotlib", reason="matplotlib is not installed: the picture is not drawn")
PATH = Path(__file__).parents[2] / "scripts" / "long_memory.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("long_memory", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script, *arguments):
    app = typer.Typer()
    app.command()(script.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_target_is_the_sum_of_two_marked_numbers_one_in_either_half(script, rng):
    x, y = script.adding_problem(rng, 300, 20)
    assert x.shape == (300, 20, 2)
    marks = x[:, :, 1]
    np.testing.assert_array_equal(marks[:, :10].sum(axis=1), np.ones(300))
    np.testing.assert_array_equal(marks[:, 10:].sum(axis=1), np.ones(300))
    np.testing.assert_allclose(y[:, 0], (x[:, :, 0] * marks).sum(axis=1), rtol=1e-6)
    assert abs(np.mean((y - 1.0) ** 2) - script.BASELINE) < 0.02
    assert marks.argmax(axis=1).min() == 0


def test_tuned_memories_last_from_one_step_to_the_horizon(script):
    layer = kgated.LSTM(
        200, unit_forget_bias=False, bias_initializer=script.MemoryBias(horizon=100, seed=0)
    )
    layer.build((None, None, 1))
    i, f, g, o = np.split(layer.cell.bias.numpy(), 4)
    np.testing.assert_array_equal(i, -f)
    assert not g.any()
    assert not o.any()
    # A forget gate at σ(log u) forgets to 1/e within about u steps.
    memory = -1.0 / np.log(1.0 / (1.0 + np.exp(-f)))
    assert memory.min() < 5.0
    assert 90.0 < memory.max() < 101.0


@pytest.fixture(scope="module")
def short_run(script, tmp_path_factory):
    """The report, both pictures and the output of one run of the script."""
    report, png = (tmp_path_factory.mktemp("run") / f"found.{kind}" for kind in ("json", "png"))
    arguments = ["--length", 10, "--steps", 150, "--only", "SimpleRNN, GRU"]
    result = run(script, *arguments, "--json", report, "--png", png)
    assert result.exit_code == 0, result.output
    pictures = [png.with_stem(f"{png.stem}-{theme}") for theme in ("light", "dark")]
    return json.loads(report.read_text()), [p.read_bytes() for p in pictures], result.output


def test_a_gru_learns_and_all_of_it_is_reported(script, short_run):
    (rnn, gru), pictures, output = short_run
    assert (rnn["cell"], gru["cell"]) == ("SimpleRNN", "GRU")
    assert gru["test_mse"][-1] < 0.5 * script.BASELINE
    assert gru["training_steps"] == script.STEPS_PER_ROUND * len(gru["test_mse"])
    for item in (rnn, gru):
        for when in ("before", "after"):
            assert len(item[f"gradient_norm_{when}"]) == 10
            assert min(item[f"gradient_norm_{when}"]) > 0
    assert gru["gradient_norm_before"][0] < 0.1 * gru["gradient_norm_before"][-1]
    assert rnn["input_gate"] == []
    assert len(gru["input_gate"]) == 10
    assert len(gru["marked_steps"]) == 2
    light, dark = pictures
    assert light.startswith(b"\x89PNG")
    assert dark.startswith(b"\x89PNG")
    assert light != dark
    for word in ("SimpleRNN", "GRU", f"{gru['test_mse'][-1]:.4f}"):
        assert word in output


def test_the_same_seed_gives_the_same_run(script, short_run):
    test = script.adding_problem(np.random.default_rng(1), script.TEST, 10)
    make = script.cells(10, 0)["SimpleRNN"]
    again = script.learn("SimpleRNN", make, test, 1, 0, lambda result: None)
    assert again.test_mse == short_run[0][0]["test_mse"][:1]


def test_underflow_is_reported(script):
    assert script.span([1e-36, 0.1]) == "< 1e-32"
    assert script.span([2e-4, 0.1]) == "2e-03"


def test_a_wrong_cell_or_folder_is_refused_before_any_work(script, tmp_path):
    result = run(script, "--only", "GRUU")
    assert result.exit_code == 2
    assert "GRUU" in result.output
    result = run(script, "--json", tmp_path / "no" / "found.json")
    assert isinstance(result.exception, FileNotFoundError)


def test_every_cell_has_a_layer_and_a_style(script):
    layers = {name: make() for name, make in script.cells(10, 0).items()}
    assert list(layers) == list(script.STYLES)
    kinds = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU, keras.layers.SimpleRNN]
    assert {type(layer) for layer in layers.values()} == set(kinds)
