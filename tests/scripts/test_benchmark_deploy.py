"""The benchmark of deployment: its parts on tiny models, and its arithmetic on given numbers."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import registry
import typer
from benchmarks import (
    apart,
    children,
    integers,
    matrix,
    models,
    peers,
    sequences,
    steps,
    stock,
    tables,
    timing,
)
from typer.testing import CliRunner

from kgated.deploy import convert
from kgated.deploy.quantization.worker_job import quantized_file

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_deploy.py"
SHORT, TINY = 5, (3, 4)  # T; F, U


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_deploy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    """Static quantization without the process of its own, which takes seconds to start."""
    monkeypatch.setattr(convert, "quantize_in_worker", quantized_file)


def test_ratios_and_targets():
    us = {"dynamic": 3.0, "onnxruntime int8": 10.0, "onnxruntime float": 11.0, "torch": 12.0}
    row = steps.step_row("LSTM", 40, 128, "dynamic", us)
    assert (row["ratio"], row["target"], row["met"]) == (0.3, 0.25, False)
    us |= {"none": 2.0}
    assert steps.step_row("LSTM", 40, 128, "none", us)["met"] is None
    us |= {"unrolled": 7.0, "while": 5.0, "stream": 9.0, "stock": 30.0}
    row = sequences.sequence_row("GRU", 40, 128, 64, True, "while", us)
    assert (row["ratio"], row["target"], row["met"]) == (0.5, 0.6, True)
    assert sequences.sequence_row("GRU", 40, 128, 64, False, "while", us)["target"] is None
    found = integers.size_row("GRU", 40, 128, "dynamic4", 100_000, 65_000)
    assert (found["allowed_bytes"], found["met"]) == (65_000, True)
    assert not integers.size_row("GRU", 40, 128, "dynamic4", 100_000, 65_001)["met"]


def test_long_sequences_are_judged_per_step():
    autos = dict.fromkeys((10, 20, 40), "while")
    rows = sequences.linear_rows("GRU", TINY, autos, {10: 100.0, 20: 180.0, 40: 480.0})
    assert [row["per_step_us"] for row in rows] == [10.0, 9.0, 12.0]
    assert [row["ratio"] for row in rows] == [1.0, 0.9, 1.2]
    assert [row["met"] for row in rows] == [None, None, False]


def test_what_is_missed_is_counted_and_shown(benchmark, capsys):
    rows = [tables.judged({"cell": c, "step_us": 1.0}, r, 1.0) for c, r in (("A", 0.5), ("B", 2.0))]
    assert [row["cell"] for row in tables.missed(rows)] == ["B"]
    benchmark.show(benchmark.Section.STEPS, rows, {"kgated: C": "why"}, as_markdown=True)
    printed = capsys.readouterr().out
    assert "| cell | step µs | ratio | target | met |\n| --- |" in printed
    assert "| B | 1.00 | 2.00 | 1.00 | NO |" in printed
    assert "kgated: C: why" in printed
    assert "1 of 2 targets met" in printed


def test_medians_see_a_slower_run():
    found = timing.medians_us({"fast": lambda: None, "slow": lambda: sum(range(20_000))}, rounds=5)
    assert found["slow"] > 10.0 * found["fast"]


@pytest.mark.parametrize("each", [True, False], ids=["each", "last"])
@pytest.mark.parametrize("cell", models.CELLS)
def test_peers_compute_the_same(cell, each, tmp_path):
    model, frames = models.model_of(cell, *TINY, each), models.noise(SHORT, TINY[0])
    layer, expected = model.layers[0], np.asarray(model(frames[None]))[0]
    path = peers.onnx_files(layer, tmp_path)["float"]
    found = peers.onnx_sequence(path, layer, frames)()
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    step, last = peers.onnx_step(path, layer, frames[0]), expected[0] if each else None
    first = step()[0, 0]
    assert np.abs(step()[0, 0] - first).max() > 1e-3  # the state is carried
    if last is not None:
        np.testing.assert_allclose(first, last, atol=1e-5)
    kind = peers.torch_kind(layer)
    expected = np.asarray(kind(frames[None]))[0]
    np.testing.assert_allclose(peers.torch_sequence(kind, frames)(), expected, atol=1e-5)
    assert (kind is layer) == (cell == "LSTM")


def test_steps_and_sizes():
    rows = steps.steps(3, (TINY,), ("GRU",))
    assert [row["quantize"] for row in rows] == list(steps.STEP_RECIPES)
    assert all(row["ratio"] == row["step_us"] / row["onnxruntime_int8_us"] > 0.0 for row in rows)
    small, large = integers.sizes((TINY, (3, 64)), ("GRU",))[::2]
    assert small["weights"] == 3 * 4 * (3 + 4 + 1)
    assert 3 * 64 * (3 + 64) < large["file_bytes"] - small["file_bytes"] < 6 * 64 * (3 + 64)


def test_sequences():
    (row,) = sequences.sequences(3, (TINY,), (SHORT,), ("PeepholeLSTM",), (True,))
    assert row["auto"] == "unrolled"
    assert row["ratio"] == row["unrolled_us"] / row["onnxruntime_int8_us"]
    assert min(v for k, v in row.items() if k.endswith("_us")) > 0.0
    rows = sequences.linearity(3, (4, 8), ("LSTM",), TINY)
    assert [row["T"] for row in rows] == [4, 8]


def test_integers_beside_the_fused_operator(monkeypatch):
    monkeypatch.setattr(integers.importlib.util, "find_spec", lambda name: None)
    (row,) = integers.static_int8(3, SHORT, TINY, ("LSTM",))
    assert row["peer"] == 'lowering="fused"'
    assert row["auto"] == "unrolled"
    assert row["ratio"] == row["auto_us"] / row["peer_us"]


def test_a_crash_of_the_stock_converter_is_one_result():
    asked = ((None, "none"), (1, "none"), (1, "int8"))
    jobs = [stock.Job("LSTM", batch, quantize, SHORT, *TINY) for batch, quantize in asked]
    free, fixed, static = stock.run_jobs(jobs)
    assert "TensorListReserve" in free
    assert static.startswith("crashed (SIG")
    assert fixed == ""


CHILD = """
import os
from benchmarks.children import serve

def answer(job):
    if job["do"] == "abort":
        os.abort()
    print("noise")
    return job["do"] + 1

serve(answer)
"""


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "child_of_test.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "child_of_test"


def test_a_crash_costs_one_job(child):
    jobs = [{"do": n} for n in (1, 2, "abort", 3, "abort", 4)]
    crash = "crashed (SIGABRT)"
    assert children.run_all(child, jobs, "some") == [2, 3, crash, 4, crash, 5]
    with pytest.raises(RuntimeError, match="TypeError"):
        children.run_all(child, [{"do": "text"}], "some")


def test_the_matrix_has_every_case_once():
    jobs = [job for model in stock.MATRIX for job in matrix.jobs_of(model)]
    assert len(set(map(str, jobs))) == 42
    names = set(map(str, matrix.variants(matrix.VARIANTS)))
    assert len(names) == len(registry.EVERY_ROW) * 2 * 3
    rows = [(row.layer.__name__, dict(row.options)) for row in registry.EVERY_ROW]
    assert rows == [(kind, one) for kind, found in matrix.VARIANTS.items() for one in found]


def test_a_file_that_disagrees_is_no_success(monkeypatch):
    none, dynamic, _ = matrix.jobs_of("GRU", package="kgated", options={"reset_after": True})[:3]
    error, why = matrix.ours(none)
    assert (error < 1e-5, why) == (True, "")
    monkeypatch.setitem(matrix.LIMITS, "dynamic", 1e-9)  # the converter's own limit too
    assert "disagrees with the Keras model" in matrix.ours(dynamic)[1]
    row = matrix.row("some", [none, none, dynamic], [(1e-7, ""), (2e-7, ""), (None, "why")], 2)
    assert (row["conversions"], row["kgated_agrees"], row["met"]) == (3, 2, False)
    assert row["worst_error_none"] == "2.0e-07"


def test_a_crash_is_a_row_of_the_matrix(monkeypatch):
    answers = {"stock.py": [""] * 6, "matrix.py": [[0.1, ""]] * 5 + ["crashed (SIGSEGV)"]}
    monkeypatch.setattr(stock, "run_all", lambda *_: answers["stock.py"])
    monkeypatch.setattr(matrix, "run_all", lambda *_: answers["matrix.py"])
    rows, failed = matrix.matrix(["LSTM"], [])
    assert rows[0]["kgated_agrees"] == 5
    assert failed == {"kgated: LSTM, batch 1, int8": "crashed (SIGSEGV)"}


def test_the_command_writes_its_rows(benchmark, monkeypatch, tmp_path):
    row = integers.size_row("GRU", 40, 128, "dynamic", 100, 200)
    monkeypatch.setattr(benchmark.integers, "sizes", lambda: [row])
    app = typer.Typer()
    app.command()(benchmark.main)
    path = tmp_path / "rows.json"
    done = CliRunner().invoke(app, ["--only", "sizes", "--json", str(path)])
    assert done.exit_code == 0, done.output
    assert "1 of 1 targets met" in done.output
    written = json.loads(path.read_text())
    assert written["sizes"]["rows"] == [row]
    assert set(written) == {"tools", "sizes"}


def test_a_conversion_in_each_process(monkeypatch):
    monkeypatch.setattr(apart, "STARTS", 1)
    (row,) = apart.conversions(1, TINY, ["none"])
    assert 0 < row["kept_s"] < row["started_s"]
    assert row["here_s"] > 0
