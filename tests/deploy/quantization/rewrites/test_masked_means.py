"""The mean over the real frames in integers, however a mask reaches it."""

import keras
import numpy as np
import pytest
from kgated_edge import SequenceData, SequenceModel
from micro_runtime import check_in_micro
from registry import randomized

import kgated

TIME, FEATURES, TOKENS = 24, 3, 9
L = keras.layers


def pooled(first, *layers):
    return keras.Sequential([*first, *layers, L.GlobalAveragePooling1D(), L.Dense(2)])


def attention(x):
    y = L.Dense(4)(L.Masking()(x))
    y = L.MultiHeadAttention(2, 2)(y, y)
    return L.Dense(2)(L.GlobalAveragePooling1D()(y))


def masked_frames():
    """A mean written by hand over the frames that are not zero, its number kept away from 0."""
    x = keras.Input((TIME, FEATURES))
    mask = keras.ops.any(keras.ops.not_equal(x, 0.0), axis=-1, keepdims=True)
    mask = keras.ops.cast(mask, "float32")
    y = L.Dense(4, activation="relu")(x) * mask
    return keras.Model(x, L.Dense(2)(keras.ops.sum(y, axis=1) / keras.ops.sum(mask, axis=1)))


def functional(build):
    x = keras.Input((TIME, FEATURES))
    return keras.Model(x, build(x))


MODELS = {  # by name: whether lengths make the mask, and the model
    "lengths": (True, lambda: pooled([keras.Input((None, FEATURES))], L.Dense(4, "relu"))),
    "Masking": (False, lambda: pooled([keras.Input((TIME, FEATURES)), L.Masking()], L.Dense(4))),
    "masked tokens": (
        False,
        lambda: pooled(
            [keras.Input((TIME,), dtype="int32"), L.Embedding(TOKENS, 4, mask_zero=True)]
        ),
    ),
    "attention": (False, lambda: functional(attention)),
    "by hand": (False, masked_frames),
}


def sequences(name, by_lengths, rng):
    """Sequences of 1 to `TIME` real frames."""
    lengths = np.concatenate([[1, 2, TIME], rng.integers(1, TIME + 1, 13)]).astype(np.int64)
    x = rng.integers(1, TOKENS, (16, TIME)).astype(np.int32)
    if "tokens" not in name:
        x = rng.normal(0.3, 1.0, (16, TIME, FEATURES)).astype(np.float32)
    x[np.arange(TIME) >= lengths[:, None]] = 0
    return SequenceData(x, lengths if by_lengths else np.full(16, TIME))


@pytest.mark.parametrize("name", MODELS)
def test_means_of_few_and_of_many_frames_agree_with_keras(name, rng, tmp_path):
    by_lengths, build = MODELS[name]
    model, data = randomized(build(), rng), sequences(name, by_lengths, rng)
    runs = [data.sequence(n) for n in range(len(data))]
    wanted = np.stack([np.asarray(model(frames[None]))[0] for frames in runs])
    size = {"max_length" if by_lengths else "length": TIME}
    for quantize, limit in (("int8", 0.04), ("int16x8", 0.02)):
        path = tmp_path / f"{quantize}.tflite"
        kgated.to_tflite(model, path, mode="sequence", quantize=quantize, calibration=data, **size)
        edge = SequenceModel(path)
        errors = np.stack([edge.run(frames) for frames in runs]) - wanted
        assert np.sqrt(np.mean(errors**2)) < limit * wanted.std(), quantize


@pytest.mark.parametrize("quantize", ["int8", "int16x8"])
def test_microcontrollers_take_the_mean_too(quantize, rng, tmp_path):
    model, path = randomized(MODELS["Masking"][1](), rng), tmp_path / "m.tflite"
    data = sequences("Masking", False, rng)
    options = {"mode": "sequence", "quantize": quantize, "target": "mcu", "length": TIME}
    kgated.to_tflite(model, path, calibration=data, **options)
    check_in_micro(path, data.x[:6])


def test_no_real_frame_at_all_is_no_error(rng, tmp_path):
    """Keras gives no number there; the file gives that of a mean of zero."""
    model, path = randomized(MODELS["Masking"][1](), rng), tmp_path / "m.tflite"
    data = sequences("Masking", False, rng)
    kgated.to_tflite(model, path, mode="sequence", quantize="int8", calibration=data)
    result = SequenceModel(path).run(np.zeros((TIME, FEATURES), np.float32))
    bias = np.asarray(model.layers[-1].bias)
    np.testing.assert_allclose(result, bias, atol=0.05)
