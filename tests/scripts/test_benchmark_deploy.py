"""The benchmark of deployment: its parts on tiny models, and its arithmetic on given numbers."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import registry
import typer
from benchmarks import (
    integers,
    matrix,
    models,
    other_runtimes,
    process_isolation,
    sequences,
    steps,
    stock,
    tables,
    timing,
    worker_pool,
)
from typer.testing import CliRunner

from kgated.deploy import worker as client
from kgated_worker import CONVERT, WORKER

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_deploy.py"
SHORT, TINY = 5, (3, 4)  # T; F, U


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("benchmark_deploy", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    actual = integers.size_row("GRU", 40, 128, "dynamic4", 100_000, 65_000)
    assert (actual["allowed_bytes"], actual["met"]) == (65_000, True)
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


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; `clock(us)` lets it go on."""
    now = [0]

    def wait(us):
        now[0] += round(1000 * us)

    monkeypatch.setattr(timing.time, "perf_counter_ns", lambda: now[0])
    return wait


def test_the_median_of_the_rounds_is_the_time_of_a_call(clock):
    times = iter([1.0, 5.0, 1.0, 70.0, 1.0, 6.0])  # each round: one unmeasured, one measured
    runs = {"even": lambda: clock(2.0), "uneven": lambda: clock(next(times))}
    assert timing.medians_us(runs, rounds=3, calls=1) == {"even": 2.0, "uneven": 6.0}


def test_a_turn_is_as_long_for_slow_calls_as_for_fast_ones(clock):
    counts = {"fast": 0, "slow": 0}

    def run(name, us):
        counts[name] += 1
        clock(us)

    runs = {"fast": lambda: run("fast", 30.0), "slow": lambda: run("slow", 1500.0)}
    assert timing.medians_us(runs, rounds=5) == {"fast": 30.0, "slow": 1500.0}
    # Three to learn how long one takes; in each round one unmeasured, then 3 ms of them.
    assert counts == {"fast": 3 + 5 * (1 + 100), "slow": 3 + 5 * (1 + 2)}


@pytest.mark.parametrize("each", [True, False], ids=["each", "last"])
@pytest.mark.parametrize("cell", models.CELLS)
def test_other_runtimes_compute_the_same(cell, each, tmp_path):
    model, frames = models.model_of(cell, *TINY, each), models.noise(SHORT, TINY[0])
    layer, expected = model.layers[0], np.asarray(model(frames[None]))[0]
    path = other_runtimes.onnx_files(layer, tmp_path)["float"]
    actual = other_runtimes.onnx_sequence(path, layer, frames)()
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=1e-5)
    step, last = other_runtimes.onnx_step(path, layer, frames[0]), expected[0] if each else None
    first = step()[0, 0]
    assert np.abs(step()[0, 0] - first).max() > 1e-3  # the state is carried
    if last is not None:
        np.testing.assert_allclose(first, last, atol=1e-5)
    kind = other_runtimes.torch_kind(layer)
    expected = np.asarray(kind(frames[None]))[0]
    np.testing.assert_allclose(other_runtimes.torch_sequence(kind, frames)(), expected, atol=1e-5)
    assert (kind is layer) == (cell == "LSTM")


@pytest.fixture
def take(monkeypatch):
    """`take(module, us)`: a part of the benchmark runs everything once and is told these times."""

    def take(module, us):
        def medians(runs, rounds):
            assert set(runs) == set(us)
            assert all(np.isfinite(np.asarray(run())).all() for run in runs.values())
            return us

        monkeypatch.setattr(module, "medians_us", medians)

    return take


PEERS = {"onnxruntime int8": 10.0, "onnxruntime float": 20.0, "torch": 30.0}


@pytest.mark.slow
def test_steps_are_compared_with_onnx_runtime(take):
    take(steps, {**PEERS, "none": 2.0, "dynamic": 3.0, "dynamic4": 4.0, "int8": 5.0})
    rows = steps.steps(3, (TINY,), ("GRU",))
    ratios = {row["quantize"]: row["ratio"] for row in rows}
    assert ratios == {"none": 0.2, "dynamic": 0.3, "dynamic4": 0.4, "int8": 0.5}


@pytest.mark.slow
def test_sizes_grow_by_the_bytes_of_the_weights():
    small, large = integers.sizes((TINY, (3, 64)), ("GRU",))[::2]
    assert small["weights"] == 3 * 4 * (3 + 4 + 1)
    assert 3 * 64 * (3 + 64) < large["file_bytes"] - small["file_bytes"] < 6 * 64 * (3 + 64)


@pytest.mark.slow
def test_sequences_are_compared_with_the_stock_converter(take):
    take(sequences, {**PEERS, "unrolled": 5.0, "while": 7.0, "stream": 8.0, "stock": 9.0})
    (row,) = sequences.sequences(3, (TINY,), (SHORT,), ("PeepholeLSTM",), (True,))
    assert (row["auto"], row["ratio"]) == ("unrolled", 0.5)


def test_time_per_step_as_sequences_grow(take):
    take(sequences, {"4": 8.0, "8": 32.0})
    rows = sequences.linearity(3, (4, 8), ("LSTM",), TINY)
    assert [(row["T"], row["per_step_us"], row["ratio"]) for row in rows] == [
        (4, 2.0, 1.0),
        (8, 4.0, 2.0),
    ]


def test_integer_operators_around_the_fused_operator(monkeypatch, take):
    monkeypatch.setattr(integers.importlib.util, "find_spec", lambda name: None)
    take(integers, {"ours": 3.0, "peer": 30.0})
    (row,) = integers.static_int8(3, SHORT, TINY, ("LSTM",))
    assert (row["auto"], row["peer"], row["ratio"]) == ("unrolled", 'lowering="fused"', 0.1)


@pytest.mark.slow
def test_a_crash_of_the_stock_converter_is_one_result():
    asked = ((None, "none"), (1, "none"), (1, "int8"))
    jobs = [stock.Job("LSTM", batch, quantize, SHORT, *TINY) for batch, quantize in asked]
    free, fixed, static = stock.run_jobs(jobs)
    assert "TensorListReserve" in free
    assert static.startswith("crashed (SIG")
    assert fixed == ""


CHILD = """
import os
from benchmarks.worker_pool import serve

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
    assert worker_pool.run_all(child, jobs, "some") == [2, 3, crash, 4, crash, 5]
    with pytest.raises(RuntimeError, match="TypeError"):
        worker_pool.run_all(child, [{"do": "text"}], "some")


def test_the_matrix_has_every_case_once():
    jobs = [job for model in stock.MATRIX for job in matrix.jobs_of(model)]
    assert len(set(map(str, jobs))) == 42
    names = set(map(str, matrix.variants(matrix.VARIANTS)))
    # The matrix is that of the cells that other runtimes have, too.
    compared = [row for row in registry.EVERY_ROW if row.recurrent]
    assert len(names) == len(compared) * 2 * 3
    rows = [(row.layer.__name__, dict(row.options)) for row in compared]
    assert rows == [(kind, item) for kind, actual in matrix.VARIANTS.items() for item in actual]


@pytest.mark.slow
def test_a_file_that_disagrees_is_no_success(monkeypatch):
    none, dynamic, _ = matrix.jobs_of("GRU", package="kgated", options={"reset_after": True})[:3]
    error, why = matrix.kgated_result(none)
    assert (error < 1e-5, why) == (True, "")
    strict = replace(matrix.QUANTIZATIONS["dynamic"], limit=1e-9)
    monkeypatch.setitem(matrix.QUANTIZATIONS, "dynamic", strict)
    assert "above 1e-09" in matrix.kgated_result(dynamic)[1]
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
    jobs = []

    def seconds(model, quantize, worker):
        jobs.append((quantize, worker))
        is_new = [w for _, w in jobs].count(worker) == 1
        return 1.0 if isinstance(worker, process_isolation.InProcess) else 5.0 if is_new else 2.0

    monkeypatch.setattr(process_isolation, "seconds", seconds)
    (row,) = process_isolation.conversions(3, TINY, ["none"])
    assert (row["here_s"], row["started_s"], row["kept_s"]) == (1.0, 5.0, 2.0)
    assert len(jobs) == 3 + process_isolation.STARTS * 2


def test_a_conversion_here_does_each_job_in_this_process(monkeypatch):
    jobs, here = [], process_isolation.InProcess()
    do = here.run
    monkeypatch.setattr(here, "run", lambda work, folder: (jobs.append(work), do(work, folder)))
    assert process_isolation.seconds(models.model_of("LSTM", *TINY), "none", here) > 0
    assert CONVERT in jobs
    assert client.WORKER is WORKER
