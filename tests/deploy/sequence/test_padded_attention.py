"""Attention over padded sequences: padded frames get no weight, in float and in integers."""

import keras
import numpy as np
import pytest
from keras import ops
from kgated_edge import SequenceData, SequenceModel
from registry import randomized

import kgated
from kgated.errors import ConversionError

TIME, FEATURES, UNITS = 8, 3, 4
LIMITS = {"none": 1e-5, "float16": 5e-3, "dynamic": 0.05, "int8": 0.1}
L = keras.layers
# Keras warns of a softmax over one frame.
pytestmark = pytest.mark.filterwarnings("ignore:You are using a softmax over axis")


def by_hand(h):
    return ops.sum(h * L.Softmax(axis=1)(L.Dense(1)(h)), axis=1)


def by_dot(h):
    weights = ops.softmax(L.Dense(1)(h), axis=1)
    return L.Flatten()(L.Dot(axes=1)([weights, h]))


def by_last(h):
    query = L.GRU(UNITS)(h)
    return L.Flatten()(L.Attention()([ops.expand_dims(query, 1), h]))


BUILDS = {
    "Attention": lambda h: L.Attention()([h, h]),
    "causal Attention": lambda h: L.Attention()([h, L.Dense(UNITS)(h), h], use_causal_mask=True),
    "AdditiveAttention": lambda h: L.GlobalAveragePooling1D()(L.AdditiveAttention()([h, h])),
    "MultiHeadAttention": lambda h: L.MultiHeadAttention(2, 3)(h, h),
    "causal MultiHeadAttention": lambda h: L.MultiHeadAttention(2, 3)(h, h, use_causal_mask=True),
    "GroupQueryAttention": lambda h: L.GroupQueryAttention(2, 4, 2)(h, h),
    "by hand": by_hand,
    "by Dot": by_dot,
    "of the last state": by_last,
    "causal convolution": lambda h: L.Conv1D(3, 2, dilation_rate=2, padding="causal")(h),
    "mean": lambda h: ops.mean(h, axis=1),
    "largest and smallest": lambda h: ops.max(h, axis=1) - ops.min(h, axis=1),
}


def model_of(builds):
    x = keras.Input((None, FEATURES))
    h = L.LSTM(UNITS, return_sequences=True)(x)
    return keras.Model(x, {name: L.Dense(2)(build(h)) for name, build in builds.items()})


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, TIME, FEATURES)).astype(np.float32)
    lengths = np.tile(np.arange(1, TIME + 1), 3)
    x[np.arange(TIME) >= lengths[:, None]] = 0
    return SequenceData(x, lengths)


@pytest.fixture(scope="module")
def attentive(data):
    """A model of all `BUILDS`, a sequence of each length, and what Keras computes for each."""
    keras.utils.set_random_seed(20)
    model = randomized(model_of(BUILDS), np.random.default_rng(0))
    runs = [data.sequence(n) for n in range(TIME)]
    return model, runs, [model(x[None]) for x in runs]


@pytest.mark.parametrize("quantize", ["none", "float16", "dynamic", "int8"])
def test_a_shorter_sequence_has_the_results_that_keras_computes(
    quantize, attentive, data, tmp_path
):
    (model, runs, wanted), path = attentive, tmp_path / "m.tflite"
    options = {"mode": "sequence", "max_length": TIME, "calibration": data}
    kgated.to_tflite(model, path, quantize=quantize, **options)
    edge, limit = SequenceModel(path), LIMITS[quantize]
    results = [edge.run(x) for x in runs]
    assert len(BUILDS) == len(edge.manifest.outputs)
    for name, output in zip(sorted(BUILDS), sorted(results[0]), strict=True):
        y = np.concatenate([np.asarray(outputs[name])[0].ravel() for outputs in wanted])
        errors = np.concatenate([outputs[output].ravel() for outputs in results]) - y
        assert np.sqrt(np.mean(errors**2)) < limit * y.std(), name


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_mask_of_the_model_and_the_padding_both_count(quantize, data, rng, tmp_path):
    x = keras.Input((None, FEATURES))
    h = L.Dense(UNITS)(L.Masking()(x))
    model = randomized(keras.Model(x, L.Dense(2)(L.Attention(use_scale=True)([h, h]))), rng)
    frames = data.x.copy()
    frames[:, 1::3] = 0  # masked by the model, among the real frames
    holed, path = SequenceData(frames, data.lengths), tmp_path / "m.tflite"
    options = {"mode": "sequence", "max_length": TIME, "calibration": holed}
    kgated.to_tflite(model, path, quantize=quantize, **options)
    edge = SequenceModel(path)
    runs = [holed.sequence(n) for n in range(TIME)]
    wanted = [np.asarray(model(frames[None]))[0] for frames in runs]
    errors = np.concatenate([edge.run(x) - y for x, y in zip(runs, wanted, strict=True)])
    assert np.sqrt(np.mean(errors**2)) < LIMITS[quantize] * np.concatenate(wanted).std()


def test_many_padded_frames_keep_no_weight_in_int8(rng, tmp_path):
    """One step of 1/256 for each of 47 padded frames would be a fifth of the result."""
    x = rng.normal(size=(16, 48, FEATURES)).astype(np.float32)
    lengths = np.tile([48, 1, 2, 30], 4)
    x[np.arange(48) >= lengths[:, None]] = 0
    data, path = SequenceData(x, lengths), tmp_path / "m.tflite"
    model = randomized(model_of({"output": BUILDS["Attention"]}), rng)
    options = {"lowering": "while", "max_length": 48, "calibration": data}
    kgated.to_tflite(model, path, mode="sequence", quantize="int8", **options)
    runs = [x[n, :1] for n in range(1, 16, 4)]
    wanted = np.stack([np.asarray(model(frames[None])["output"])[0] for frames in runs])
    edge = SequenceModel(path)
    errors = np.stack([edge.run(frames) for frames in runs]) - wanted
    assert np.abs(errors).max() < 0.1 * wanted.std()


@pytest.mark.parametrize(
    "build",
    [
        lambda h: ops.sum(L.Attention()([h, h], return_attention_scores=True)[1], axis=2),
        lambda h: L.Attention()([h, L.ZeroPadding1D(1)(h)]),
        lambda h: ops.sum(L.Dot(axes=(2, 2))([h, h]), axis=2),
        lambda h: ops.mean(h, axis=(1, 2), keepdims=True),
    ],
)
def test_what_would_see_padding_is_refused_with_the_way_out(build, tmp_path):
    x = keras.Input((None, FEATURES))
    model = keras.Model(x, build(L.LSTM(UNITS, return_sequences=True)(x)))
    with pytest.raises(ConversionError, match=r"layer `.*convert with `length`"):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", max_length=TIME)
