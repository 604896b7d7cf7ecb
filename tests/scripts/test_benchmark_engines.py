"""Other engines in processes of their own: measured, or refused with the reason."""

import sys
from pathlib import Path

import pytest
from benchmark_capacity import capacity_rows
from benchmarks.peers import rows
from benchmarks.peers.environments import environment
from benchmarks.peers.process import Peer, RefusedError
from kgated_edge import EdgeModel

FEATURES, UNITS = 5, 8


@pytest.mark.slow
def test_engines_are_measured_or_refused_with_the_reason(tmp_path, monkeypatch):
    engines = [rows.Engine("onnxruntime", weights) for weights in ("float", "int8")]
    engines += [rows.Engine("torch", "float"), rows.Engine("ncnn", "float")]
    monkeypatch.setattr(rows, "ENGINES", engines)
    monkeypatch.setattr(rows, "TASKS", {"streams": (1, 3)})
    table = rows.engines(1, tmp_path, ((FEATURES, UNITS),), ["GRU"])
    assert [row["engine"] for row in table] == [engine.name for engine in engines]
    onnx, integers, torch, ncnn = table
    for row in (onnx, torch):
        assert row["why_not"] is None
        assert float(row["max_error"]) < 1e-5
        assert row["call_us"] == pytest.approx(3 * row["stream_us"])
        assert row["stream_us"] > 0
    assert integers["call_us"] is None
    assert "leaves the layer in float" in integers["why_not"]
    assert "import" in ncnn["why_not"]


def test_results_of_another_layer_are_refused():
    engine = rows.Engine("openvino", "float")
    with pytest.raises(RefusedError, match=r"not those of the layer: they differ by 0\.1"):
        rows._check_error(engine, 0.1)
    with pytest.raises(RefusedError, match="nan"):
        rows._check_error(engine, float("nan"))


def test_an_engine_that_does_not_import_is_refused():
    with Peer(Path(sys.executable), "no_such_engine") as peer, pytest.raises(RefusedError):
        peer.open({})


@pytest.mark.slow
def test_a_package_that_cannot_be_installed_is_the_reason(tmp_path):
    odd = environment(tmp_path, "odd", (str(tmp_path / "no-such-package.whl"),))
    assert odd.python is None
    assert "no-such-package" in odd.reason


@pytest.mark.slow
def test_the_capacity_of_a_machine_is_searched(tmp_path, monkeypatch):
    path = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"
    features = EdgeModel(path).manifest.frame.size
    monkeypatch.setattr("benchmark_capacity.SIZES", ((features, UNITS),))
    monkeypatch.setattr("benchmark_capacity._file", lambda *_: path)
    monkeypatch.setattr("kgated_edge.loadtest.runner.find_capacity", lambda *_: 5)
    settings = {"period_ms": 20.0, "deadline_ms": 2000.0, "seconds": 0.2, "max_misses": 10}
    (row,) = capacity_rows(tmp_path, UNITS, [2], ["litert"], **settings)
    assert (row["streams"], row["streams_per_process"], row["processes"]) == (5, 2, 2)
