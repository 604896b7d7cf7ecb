"""Every static recipe as users convert: quantized in the worker process, never in this one."""

import sys

import keras
import numpy as np
import pytest
from kgated_edge import open_model, selftest
from micro_runtime import check_in_micro
from model_builders import sequential
from registry import randomized
from tflite_files import left_in_float

import kgated
from kgated.deploy.recipe import QUANTIZATIONS
from kgated_worker import WORKER

TIME, FEATURES = 12, 5
X_SHAPE = (8, TIME, FEATURES)
WHOLE = {"mode": "sequence", "length": TIME}
ROUTES = {
    "stream": {},
    "unrolled": {**WHOLE, "lowering": "unrolled"},
    "while": {**WHOLE, "lowering": "while"},
    "stream on a microcontroller": {"target": "mcu"},
    "sequence on a microcontroller": {**WHOLE, "target": "mcu"},
}


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that the worker does, while the quantizer can't be imported in this process."""
    stages, run = [], WORKER.run

    def listed(job, folder):
        stages.append(job.split(":")[-1])
        run(job, folder)

    monkeypatch.setattr(WORKER, "run", listed)
    for name in {"ai_edge_quantizer", *sys.modules}:
        if name.split(".")[0] == "ai_edge_quantizer":
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        import ai_edge_quantizer  # noqa: F401
    return stages


@pytest.mark.parametrize("quantize", [n for n, q in QUANTIZATIONS.items() if q.is_static])
@pytest.mark.parametrize("route", ROUTES)
def test_a_static_recipe_is_made_in_the_worker(route, quantize, x, rng, jobs, tmp_path):
    layers = [kgated.LSTM(4, return_sequences=True), keras.layers.Dense(2)]
    model, path = randomized(sequential(*layers), rng), tmp_path / "m.tflite"
    kgated.to_tflite(model, path, quantize=quantize, calibration=x, **ROUTES[route])
    assert [job for job in jobs if job.startswith("quantize")] == ["quantize_job"]
    assert len(jobs) == 4  # to convert, to run the float file, to quantize, to run the result
    assert selftest(path).passed
    if ROUTES[route].get("target") == "mcu":
        check_in_micro(path)
    assert left_in_float(path.read_bytes()) == []
    expected = np.asarray(model(x))
    results = np.stack([open_model(path).run(sequence) for sequence in x])
    limit = QUANTIZATIONS[quantize].limit / 2
    assert np.abs(results - expected).max() <= limit
    assert np.abs(results - expected[::-1]).max() > limit


def test_a_conversion_names_its_stages(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), kgated.GRU(2)])
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    stages = []
    options = {"quantize": "int8", "calibration": x, "progress": stages.append}
    kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    expected = ["the graph of the file", "the comparison of the float file with Keras"]
    assert [stage for stage in stages if stage in expected] == expected
    assert "the comparison of the file with Keras" in stages[-2:]
    count = len(stages)
    kgated.to_tflite(model, tmp_path / "m.tflite")  # nobody listens to this one
    assert count == len(stages)
