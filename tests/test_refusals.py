"""Bad input ends in an error of ours, with the argument or the layer and the way out.

None of Python, Keras, NumPy or TensorFlow speaks to the user: each case is checked for where it was
raised, too.
"""

import json
import re
import traceback
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from model_builders import sequential

import kgated
from kgated.errors import ConversionError
from kgated.interop import from_keras, from_torch, load_h5
from kgated.optimize import ConstantSparsity, PolynomialDecay

L = keras.layers
F, T = 5, 8
HALF = ConstantSparsity(0.5, 0)
X = np.random.default_rng(0).normal(size=(3, T, F)).astype(np.float32)
NAN = float("nan")
WHOLE = {"mode": "sequence", "length": T}
WAY_OUT = re.compile(
    r"Received|must|needed|give|take|use|build|convert|compute|save|load|start|leave|keep|copy|"
    r"train|scale|check|make|name|drop|repeat"
)


def assert_refused(call, pattern=""):
    with pytest.raises((ValueError, TypeError, ConversionError, OSError)) as caught:
        call()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert re.search(r"/kgated(_edge)?/", last.filename), f"{last.filename}: {caught.value!r}"
    assert last.line.startswith("raise "), f"{last.line}: {caught.value!r}"
    message = str(caught.value)
    assert "\n" not in message
    assert 20 < len(message) < 900
    assert WAY_OUT.search(message)
    assert re.search(pattern, message)


def model():
    return sequential(kgated.LSTM(3))


class Subclassed(keras.Model):
    def call(self, x):
        return x


class OfValues(keras.Model):
    def call(self, x):
        return x[: int(x[0, 0, 0])]


class Fails(L.Layer):
    """Runs over several frames alone."""

    def call(self, x):
        if x.shape[1] != T:
            raise RuntimeError("a reason\nof two lines")
        return x


def functional(call, *shape, **options):
    x = keras.Input(shape, **options)
    return keras.Model(x, call(x))


def broken(value):
    damaged = model()
    weights = damaged.get_weights()
    weights[1][0, 0] = value
    damaged.set_weights(weights)
    return damaged


NO_MODELS = {
    "None": lambda: None,
    "a path": lambda: "model.keras",
    "a class": lambda: keras.Sequential,
    "a layer": lambda: kgated.LSTM(3),
    "a list": lambda: [model()],
    "a function": lambda: model,
}
UNBUILT = {
    "empty": keras.Sequential,
    "an Input alone": lambda: keras.Sequential([keras.Input((None, F))]),
    "no Input": lambda: keras.Sequential([kgated.LSTM(3)]),
    "subclassed": Subclassed,
    "subclassed, of values": OfValues,
}
IN_NO_MODE = {
    **UNBUILT,
    **NO_MODELS,
    "any features": lambda: functional(keras.ops.tanh, None, None),
    "no features": lambda: functional(keras.ops.tanh, None, 0),
    "vectors": lambda: functional(L.Dense(2), F),
    "integers out": lambda: functional(lambda x: keras.ops.argmax(kgated.LSTM(3)(x), -1), None, F),
    "Discretization": lambda: sequential(L.Discretization(bin_boundaries=[0.0])),
    "CategoryEncoding": lambda: functional(L.CategoryEncoding(7), None, dtype="int32"),
    "NaN": lambda: broken(NAN),
    "inf": lambda: broken(np.inf),
    "NaN in a statistic": lambda: sequential(L.Normalization(mean=0.0, variance=NAN)),
}


@pytest.mark.parametrize("options", [{}, WHOLE], ids=["stream", "whole"])
@pytest.mark.parametrize("name", [name for name in IN_NO_MODE if "statistic" not in name])
def test_models_that_do_not_convert(name, options, tmp_path):
    bad = IN_NO_MODE[name]()
    assert_refused(lambda: kgated.to_tflite(bad, tmp_path / "m.tflite", **options), "`")
    assert not list(tmp_path.iterdir())


STREAM_ALONE = {
    "Bidirectional": lambda: sequential(L.Bidirectional(L.LSTM(2))),
    "Lambda": lambda: sequential(L.Lambda(lambda x: 2 * x), kgated.LSTM(3)),
    "fails on a frame": lambda: sequential(Fails(), kgated.LSTM(3), shape=(T, F)),
}


@pytest.mark.parametrize("name", STREAM_ALONE)
def test_what_the_error_of_a_stream_says_of_the_sequence_is_true(name, tmp_path):
    built, path = STREAM_ALONE[name](), tmp_path / "m.tflite"
    assert_refused(lambda: kgated.to_tflite(built, path), 'convert with `mode="sequence"`')
    kgated.to_tflite(built, path, **WHOLE)


def as_text(x):
    import tensorflow as tf

    return tf.strings.to_number(tf.strings.as_string(x))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (lambda: L.Lambda(as_text, name="odd"), r"no builtin .* AsString \(layer `odd`\)"),
        (lambda: L.Discretization(bin_boundaries=[0.0]), "dtype int32; needed are float32"),
    ],
)
def test_a_sequence_that_fails_too_is_not_offered(layer, reason, tmp_path):
    built = sequential(layer())
    call = lambda: kgated.to_tflite(built, tmp_path / "m.tflite")  # noqa: E731
    assert_refused(call, rf'`mode="sequence"` does not take the model: .*{reason}')
    with pytest.raises(ConversionError) as caught:
        call()
    assert "convert with" not in str(caught.value)


OPTIONS = {
    "mode": ["both", 3, ["stream"], np.array(["stream", "sequence"])],
    "quantize": ["int4", None, {}, "int8"],
    "state": ["inside", True],
    "skip": ["lstm", 3, None, [3], [["a"]]],
    "target": ["npu", []],
    "length": [3, -1],
    "batch": [0, -1, "2", 2.0, None, True],
    "labels": [3, "abc", ["a"], [1, 2, 3], ["a\nb", "c", "d"], {}],
    "sample_period_s": [0, -1, NAN, "0.1", [1]],
    "figures": [
        ["accuracy"],
        "accuracy",
        {"a": 1},
        {"accuracy": 98.0},
        {"accuracy": "1"},
        {3: 1.0},
    ],
}
LENGTHS = [-1, 0, "8", 8.0, True, [8], np.array([4, 5]), None]
CALIBRATIONS = {
    "rank 0": np.float32(3),
    "rank 2": X[0],
    "rank 4": X[None],
    "features": X[..., :2],
    "text": np.array(["a"]),
    "objects": X.astype(object),
    "NaN": X * NAN,
    "inf": X * np.inf,
    "beyond float32": X.astype(float) * 1e300,
    "no sequence": X[:0],
    "no frame": X[:, :0],
    "bool": X > 0,
    "complex": X.astype(complex),
    "dates": np.zeros((3, 4, 5), "datetime64[s]"),
    "records": np.zeros(3, [("a", float)]),
    "an empty list": [],
    "a list of numbers": [1, 2],
    "a list of None": [None],
    "unequal features": [X[0], X[0, :, :2]],
    "no x": {"z": X},
    "other lengths": {"x": X, "lengths": [1, 2]},
    "lengths of 0": {"x": X, "lengths": [0, 1, 2]},
    "lengths in words": {"x": X, "lengths": "abc"},
    "a number": 3,
    "a set": {1, 2},
    "a generator": (x for x in X),
    "tokens": np.zeros((3, 4), int),
    "a missing file": "nowhere.npz",
    "SequenceData of nothing": kgated.data.SequenceData(None, None),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OPTIONS.items() for value in values]
)
def test_options(name, value, tmp_path):
    call = lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **{name: value})  # noqa: E731
    assert_refused(call, f"`{name}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["length", "max_length"])
@pytest.mark.parametrize("value", LENGTHS)
def test_lengths(name, value, tmp_path):
    options = {"mode": "sequence", name: value}
    assert_refused(
        lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **options), "`.*length`"
    )


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations(name, tmp_path):
    options = {"quantize": "int8", "calibration": CALIBRATIONS[name]}
    call = lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **options)  # noqa: E731
    assert_refused(call, "`calibration`")


@pytest.mark.parametrize("path", [None, 3, b"m.tflite", "", "a\0b", ["m"], ".", "no/m.tflite"])
def test_paths(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(lambda: kgated.to_tflite(model(), path), "`path`|can't write")
    long = "x" * 300
    assert_refused(lambda: kgated.to_tflite(model(), long), "can't write .*give another name")


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
def test_arguments(name, value):
    assert_refused(lambda: ARGUMENTS[name][0](value), f"`{name}")


@pytest.mark.parametrize("name", [*NO_MODELS, *UNBUILT, "NaN", "inf"])
def test_models_that_are_not_made_smaller(name):
    bad = IN_NO_MODE[name]()
    for call in (
        kgated.quantize_aware,
        lambda m: kgated.prune(m, HALF),
        lambda m: kgated.cluster(m, 8),
    ):
        assert_refused(lambda call=call: call(bad), "`model`")


def test_an_embedding_of_floats_is_not_trained_in_integers():
    built = functional(lambda x: kgated.LSTM(3)(L.Embedding(4, 2)(x)), None)
    assert_refused(lambda: kgated.quantize_aware(built), "Embedding.*dtype='int32'")


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
def test_files(name, tmp_path):
    path = tmp_path / "model.h5"
    FILES[name](path)
    assert_refused(lambda: load_h5(path), re.escape(str(path)))


@pytest.mark.parametrize("path", [None, 3, b"a.h5", "", Path()])
def test_paths_of_files(path):
    assert_refused(lambda: load_h5(path), "`path`|folder")


def test_other_precisions_and_preprocessing_convert(tmp_path):
    for built in (
        sequential(kgated.LSTM(3, dtype="float64"), L.Dense(2, dtype="mixed_float16")),
        sequential(L.Normalization(mean=0.5, variance=2.0), kgated.LSTM(3)),
        functional(kgated.LSTM(3), None, F, sparse=True),
    ):
        assert kgated.to_tflite(built, tmp_path / "m.tflite").agreement.max_abs_error < 1e-5


@pytest.mark.parametrize("mode", [None, "stream"])
def test_the_default_mode_is_said_for_windows(mode, tmp_path, caplog):
    built = sequential(kgated.LSTM(3), shape=(T, F))
    notes = kgated.to_tflite(built, tmp_path / "m.tflite", mode=mode).notes
    assert [record.message for record in caplog.records if record.name == "kgated"] == list(notes)
    assert len(notes) == (mode is None)
    if notes:
        assert re.search(r'length of 8 frames.* a stream.*`mode="sequence"`', notes[0])
