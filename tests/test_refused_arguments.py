"""Bad arguments, tensors and files raise an error of kgated in every function."""

import json
import re
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from model_builders import sequential
from refusals import assert_refused

import kgated
from kgated.interop import from_keras, from_torch, load_h5
from kgated.optimize import ConstantSparsity, PolynomialDecay

L = keras.layers
HALF = ConstantSparsity(0.5, 0)
NAN = float("nan")


def model():
    return sequential(kgated.LSTM(3))


ARGUMENTS = {
    "scheme": [lambda v: kgated.quantize_aware(model(), v), ["int4", None, [1], {}]],
    "warmup": [lambda v: kgated.quantize_aware(model(), warmup=v), [0, "3", 2.5, None]],
    "momentum": [lambda v: kgated.quantize_aware(model(), momentum=v), ["x", None, 2.0, NAN, [1]]],
    "freeze_at": [lambda v: kgated.quantize_aware(model(), freeze_at=v), ["a", -1, 1.5]],
    "schedule": [lambda v: kgated.prune(model(), v), [None, "half", 0.5]],
    "block": [lambda v: kgated.prune(model(), HALF, block=v), [2, None, "ab", (0, 1), (1, 1, 1)]],
    "pattern": [lambda v: kgated.prune(model(), HALF, pattern=v), ["4:8", ["2:4"], 3]],
    "layers": [lambda v: kgated.prune(model(), HALF, layers=v), ["lstm", 3, ["x"], [["x"]], [3]]],
    "n_clusters": [lambda v: kgated.cluster(model(), v), ["8", 8.0, None, 1, [8], True]],
    "init": [lambda v: kgated.cluster(model(), 8, v), ["x", ["linear"], {}, None]],
    "seed": [lambda v: kgated.cluster(model(), 8, seed=v), ["a", -1, 1.5, None]],
    "target_sparsity": [lambda v: ConstantSparsity(v, 0), ["a", None, NAN, 1.0, -0.1]],
    "begin_step": [lambda v: ConstantSparsity(0.5, v), ["a", None, -1, 0.5]],
    "end_step": [lambda v: PolynomialDecay(0.0, 0.5, 2, v), ["a", None, 2, 3.5]],
    "frequency": [lambda v: ConstantSparsity(0.5, 0, frequency=v), ["a", None, 0]],
    "power": [lambda v: PolynomialDecay(0.0, 0.5, 0, 9, v), ["a", None]],
    "layer": [from_keras, [None, "lstm", L.Dense(2), L.SimpleRNN(2), L.LSTMCell(2), model]],
    "update_gate": [lambda v: from_keras(L.GRU(2), v), ["x", None, [1]]],
    "source": [from_torch, [None, 3, [1], b"x", {}, {"a": np.ones(2)}, {1: np.ones(2)}]],
    "prefix": [lambda v: from_torch({"weight": np.ones((2, 3))}, prefix=v), [3, None]],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, (_, values) in ARGUMENTS.items() for value in values],
)
def test_bad_arguments_are_refused(name, value):
    assert_refused(lambda: ARGUMENTS[name][0](value), f"`{name}")


WEIGHTS = {"weight_ih_l0": np.zeros((12, 5)), "weight_hh_l0": np.zeros((12, 3))}
DENSE = {"weight": np.zeros((2, 3)), "bias": np.zeros(2)}


@pytest.mark.parametrize(
    ("tensors", "options"),
    [
        ({**WEIGHTS, "weight_ih_l0": "a"}, {}),
        ({**WEIGHTS, "weight_ih_l0": np.zeros(12)}, {}),
        ({**WEIGHTS, "weight_ih_l0": np.zeros((13, 5))}, {}),
        ({**WEIGHTS, "weight_hh_l0": np.zeros((12, 3), object)}, {}),
        ({**WEIGHTS, "bias_ih_l0": np.zeros(12)}, {}),
        ({**WEIGHTS, "other": np.zeros(12)}, {}),
        ({"weight_hh_l0": np.zeros((12, 3))}, {}),
        (WEIGHTS, {"kind": "Linear"}),
        (WEIGHTS, {"activation": "relu"}),
        ({**DENSE, "bias": np.zeros(7)}, {"kind": "Linear"}),
        (DENSE, {"kind": "Linear", "activation": "nope"}),
        (DENSE, {"kind": "Linear", "color": 3}),
        (DENSE, {"kind": "Conv1d"}),
    ],
)
def test_tensors_of_pytorch(tensors, options):
    assert_refused(lambda: from_torch(tensors, **options))


def hdf5(config):
    def write(path):
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = config
            file.create_group("model_weights")

    return write


def archive(**texts):
    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            for name, text in texts.items():
                file.writestr(f"{name}.json", text)

    return write


FILES = {
    "bytes": lambda path: path.write_bytes(b"junk"),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
    "no JSON": hdf5("no JSON"),
    "a list": hdf5("[]"),
    "layers of a number": hdf5(json.dumps({"class_name": "Sequential", "config": {"layers": 3}})),
    "no config": hdf5(json.dumps({"class_name": "Sequential"})),
    "an archive of nothing": archive(),
    "no version": archive(metadata="{}", config="{}"),
    "no layers": archive(
        metadata='{"keras_version": "2.15"}',
        config='{"class_name": "Sequential", "config": {"layers": []}}',
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_weight_files_are_refused(name, tmp_path):
    path = tmp_path / "model.h5"
    FILES[name](path)
    assert_refused(lambda: load_h5(path), re.escape(str(path)))


@pytest.mark.parametrize("path", [None, 3, b"a.h5", "", Path()])
def test_paths_of_files(path):
    assert_refused(lambda: load_h5(path), "`path`|folder")
