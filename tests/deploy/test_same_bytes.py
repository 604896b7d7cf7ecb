"""Two conversions of one model give the same bytes, in one process and in another one."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import kgated

STEPS, FEATURES = 6, 3
SEQUENCE = {"mode": "sequence", "length": STEPS}
CASES = {
    **{name: {"quantize": name} for name in ("none", "float16", "dynamic", "dynamic4", "int16x8")},
    "int8": {"quantize": "int8"},
    "sequence": {"quantize": "none", **SEQUENCE},
    "int8 sequence": {"quantize": "int8", **SEQUENCE},
    "C": {"quantize": "dynamic", "target": "c"},
    "int8 C": {"quantize": "int8", "target": "c"},
    "int8 microcontroller": {"quantize": "int8", "target": "mcu"},
}
FRESH = ("dynamic4", "int8 sequence", "int8 C")
CONVERT = """
import sys, keras, test_same_bytes
from pathlib import Path
model = keras.models.load_model("model.keras")
for name in test_same_bytes.FRESH:
    folder = Path(name)
    folder.mkdir()
    test_same_bytes.files(model, folder, name)
"""


def files(model, folder, name):
    """The content of each file of a conversion, by its name."""
    x = np.random.default_rng(1).normal(size=(4, STEPS, FEATURES)).astype(np.float32)
    kgated.to_tflite(model, folder / "m.tflite", calibration=x, **CASES[name])
    return contents(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    layers = [kgated.GRU(4, return_sequences=True), keras.layers.Dense(2, activation="tanh")]
    return keras.Sequential([keras.Input((None, FEATURES)), *layers])


@pytest.fixture(scope="module")
def converted(model, tmp_path_factory):
    """By case the files of the first conversion."""
    return {name: files(model, tmp_path_factory.mktemp("first"), name) for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_a_second_conversion_gives_the_same_bytes(name, model, converted, tmp_path):
    first, second = converted[name], files(model, tmp_path, name)
    assert len(first) == (3 if "target" in CASES[name] else 1)
    assert first.keys() == second.keys()
    assert [file for file in first if first[file] != second[file]] == []


def test_another_weight_gives_other_bytes(model, converted, tmp_path):
    weights = model.get_weights()
    model.set_weights([weights[0] * 1.01, *weights[1:]])
    try:
        assert files(model, tmp_path, "none") != converted["none"]
    finally:
        model.set_weights(weights)


@pytest.mark.slow
def test_a_fresh_process_with_another_hash_seed_gives_the_same_bytes(model, converted, tmp_path):
    model.save(tmp_path / "model.keras")
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
    command = [sys.executable, "-c", CONVERT]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for name in FRESH:
        fresh = contents(tmp_path / name)
        assert fresh.keys() == converted[name].keys()
        assert [file for file in fresh if fresh[file] != converted[name][file]] == [], name
