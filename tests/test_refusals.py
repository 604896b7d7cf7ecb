"""Bad input raises an error of kgated, with the argument or the layer and a remedy.

None of Python, Keras, NumPy or TensorFlow speaks to the user: each case is checked for where it was
raised, too.
"""

import re

import keras
import numpy as np
import pytest
from model_builders import sequential
from refusals import assert_refused

import kgated
from kgated.errors import ConversionError
from kgated.optimize import ConstantSparsity

L = keras.layers
F, T = 5, 8
HALF = ConstantSparsity(0.5, 0)
X = np.random.default_rng(0).normal(size=(3, T, F)).astype(np.float32)
NAN = float("nan")
WHOLE = {"mode": "sequence", "length": T}


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
def test_the_hint_of_a_stream_error_to_use_mode_sequence_is_true(name, tmp_path):
    built, path = STREAM_ALONE[name](), tmp_path / "m.tflite"
    assert_refused(lambda: kgated.to_tflite(built, path), 'convert with `mode="sequence"`')
    kgated.to_tflite(built, path, **WHOLE)


def as_text(x):
    import tensorflow as tf

    return tf.strings.to_number(tf.strings.as_string(x))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            lambda: L.Lambda(as_text, name="odd"),
            r'`mode="sequence"` does not take the model: .*no builtin .* AsString \(layer `odd`\)',
        ),
        (lambda: L.Discretization(bin_boundaries=[0.0]), "dtype int32; needed are float32"),
    ],
)
def test_a_sequence_that_fails_too_is_not_offered(layer, reason, tmp_path):
    built = sequential(layer())
    call = lambda: kgated.to_tflite(built, tmp_path / "m.tflite")  # noqa: E731
    assert_refused(call, reason)
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
def test_bad_options_are_refused(name, value, tmp_path):
    call = lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **{name: value})  # noqa: E731
    assert_refused(call, f"`{name}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["length", "max_length"])
@pytest.mark.parametrize("value", LENGTHS)
def test_bad_lengths_are_refused(name, value, tmp_path):
    options = {"mode": "sequence", name: value}
    assert_refused(
        lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **options), "`.*length`"
    )


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_bad_calibration_is_refused(name, tmp_path):
    options = {"quantize": "int8", "calibration": CALIBRATIONS[name]}
    call = lambda: kgated.to_tflite(model(), tmp_path / "m.tflite", **options)  # noqa: E731
    assert_refused(call, "`calibration`")


@pytest.mark.parametrize("path", [None, 3, b"m.tflite", "", "a\0b", ["m"], ".", "no/m.tflite"])
def test_unwritable_paths_are_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_refused(lambda: kgated.to_tflite(model(), path), "`path`|can't write")
    long = "x" * 300
    assert_refused(lambda: kgated.to_tflite(model(), long), "can't write .*give another name")


@pytest.mark.parametrize("name", [*NO_MODELS, *UNBUILT, "NaN", "inf"])
def test_unsupported_models_are_refused_for_optimization(name):
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


def test_other_precisions_and_preprocessing_convert(tmp_path):
    for built in (
        sequential(kgated.LSTM(3, dtype="float64"), L.Dense(2, dtype="mixed_float16")),
        sequential(L.Normalization(mean=0.5, variance=2.0), kgated.LSTM(3)),
        functional(kgated.LSTM(3), None, F, sparse=True),
    ):
        assert kgated.to_tflite(built, tmp_path / "m.tflite").agreement.max_abs_error < 1e-5


@pytest.mark.parametrize("mode", [None, "stream"])
def test_the_default_mode_is_named_for_windows(mode, tmp_path, caplog):
    built = sequential(kgated.LSTM(3), shape=(T, F))
    notes = kgated.to_tflite(built, tmp_path / "m.tflite", mode=mode).notes
    assert [record.message for record in caplog.records if record.name == "kgated"] == list(notes)
    assert len(notes) == (mode is None)
    if notes:
        assert re.search(r'length of 8 frames.* a stream.*`mode="sequence"`', notes[0])
