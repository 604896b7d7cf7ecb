"""Whole sequences of several inputs and outputs: by name, with and without time."""

import keras
import numpy as np
import pytest
from kgated_edge import DataError, FrameError, SequenceModel, check, load_npz, selftest
from streams import randomize

import kgated
from kgated.deploy.sequence.inputs import inputs_of
from kgated.errors import ConversionError

L = keras.layers
N, T = 6, 8
SINGLE = ("who", "place", "whole")


def build(length=None):
    """Frames, tokens, a vector and a token per sequence, to a result per frame and one for all."""
    sound, who = keras.Input((length, 5), name="sound"), keras.Input((4,), name="who")
    word = keras.Input((length,), dtype="int32", name="word")
    place = keras.Input((1,), dtype="int32", name="place")
    features = L.Concatenate()([sound, L.Embedding(7, 3)(word)])
    hidden = L.Bidirectional(kgated.LSTM(4, return_sequences=True))(features)
    about = [L.Dense(3)(who), L.Flatten()(L.Embedding(3, 2)(place))]
    single_result = L.Dense(2)(L.Concatenate()([kgated.GRU(4)(hidden), *about]))
    outputs = {"each": L.Dense(3)(hidden), "whole": single_result}
    return keras.Model([sound, word, who, place], outputs)


@pytest.fixture
def data(rng):
    return {
        "sound": rng.normal(size=(N, T, 5)).astype(np.float32),
        "word": rng.integers(0, 7, (N, T)).astype(np.int32),
        "who": rng.normal(size=(N, 4)).astype(np.float32),
        "place": rng.integers(0, 3, (N, 1)).astype(np.int32),
    }


def part(data, rows, count=T):
    return {n: x[rows] if n in SINGLE else x[rows, :count] for n, x in data.items()}


ROWS = [
    ({"length": T}, 1e-5),
    ({"length": T, "lowering": "while"}, 1e-5),
    ({"max_length": T}, 1e-5),
    ({"length": T, "quantize": "int8"}, 0.1),
    ({"max_length": T, "quantize": "dynamic", "batch": 2}, 0.05),
]


@pytest.mark.parametrize(("options", "limit"), ROWS)
def test_equals_keras(options, limit, data, rng, tmp_path):
    model, options = randomize(build(), rng), {"mode": "sequence", **options}
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=data, **options)
    assert conversion.manifest.single == SINGLE
    assert set(conversion.outputs) == {"each", "whole"}
    assert selftest(conversion.path).passed
    batch, count = options.get("batch", 1), 5 if "max_length" in options else T
    edge = SequenceModel(conversion.path)
    frames = part(data, slice(batch), count)
    expected = {n: np.asarray(y) for n, y in model(frames, training=False).items()}
    moved = model({**frames, "place": (frames["place"] + 1) % 3}, training=False)["whole"]
    results = edge.run(frames if batch > 1 else {n: x[0] for n, x in frames.items()})
    for name, result in results.items():
        result = result if batch > 1 else result[None]
        np.testing.assert_allclose(result, expected[name], atol=limit)
    assert np.abs(np.asarray(moved) - expected["whole"]).max() > limit / 2


def test_inputs_are_classified_as_timed_or_constant():
    shapes = {"lengths": (None, 5), "memory": (3, 5), "words": (None, 2), "who": (4,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    flat = L.TimeDistributed(L.Flatten())(L.Embedding(7, 3)(inputs["words"]))
    each = L.Concatenate()([inputs["lengths"], flat])
    result = L.Concatenate()([kgated.GRU(2)(each), L.Flatten()(inputs["memory"]), inputs["who"]])
    specs, size = inputs_of(keras.Model([*inputs.values()], result))
    assert size is None
    assert [spec.name for spec in specs] == ["lengths_2", "memory", "words", "who"]
    assert [spec.shape for spec in specs] == [(5,), (3, 5), (2,), (4,)]
    assert [spec.is_timed for spec in specs] == [True, False, True, False]


def test_data_from_files(data, rng, tmp_path):
    model, path = randomize(build(T), rng), tmp_path / "data.npz"
    np.savez(path, **data, y=np.zeros((N, T), np.int64))
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", calibration=path)
    assert conversion.agreement.results == N * T + N
    assert check(conversion.path, path).sequences == N
    loaded = load_npz(path, list(data), conversion.manifest.single)
    assert loaded.sequence(2)["who"].shape == (4,)
    np.savez(path, **{**data, "who": data["who"][:3]})
    with pytest.raises(DataError, match=r"`who` must be \(6, \.\.\.\).* got shape \(3, 4\)"):
        check(conversion.path, path)
    np.savez(path, **{**data, "who": data["who"] * np.nan})
    with pytest.raises(ValueError, match="`who` holds NaN or inf"):
        kgated.to_tflite(model, tmp_path / "n.tflite", mode="sequence", calibration=path)


def test_bad_input_is_named(data, rng, tmp_path):
    conversion = kgated.to_tflite(
        build(), tmp_path / "m.tflite", mode="sequence", max_length=T, calibration=data
    )
    edge, good = SequenceModel(conversion.path), {n: x[0] for n, x in data.items()}
    bad = [
        ({"word": good["word"][:3]}, "same number of frames, got"),
        ({"sound": good["sound"][:, :2]}, r"input `sound`: frames must be .*\(T, 5\)"),
        ({"who": good["who"][:2]}, r"input `who`: .*\(4,\)"),
        ({"place": np.array([3], np.int32)}, r"input `place`: a token must be in 0\.\.2, got 3"),
        ({"who": good["who"] * np.inf}, "input `who`: .*finite"),
    ]
    for change, message in bad:
        with pytest.raises(FrameError, match=message):
            edge.run({**good, **change})
    with pytest.raises(FrameError, match="this model takes a dict of"):
        edge.run(good["sound"])


def test_a_model_without_frames_is_refused(tmp_path):
    who = keras.Input((4,), name="who")
    model = keras.Model(who, kgated.GRU(3)(L.RepeatVector(T)(who)))
    with pytest.raises(ConversionError, match=r"takes inputs of shape \(None, 4\) .*needed is"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", length=T)
