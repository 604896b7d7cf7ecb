"""Operators without an integer kernel of their own: rewritten, and compared with Keras."""

import keras
import numpy as np
import pytest
import streams
from kgated_edge import SequenceModel

import kgated

T, F = 4, 4
L = keras.layers


def _apart(y):
    """Numbers whose largest stands out by the sign of the first feature."""
    return y + 50.0 * keras.ops.sign(y[..., :1]) * np.float32([1, -1, 0, 0])


def heads(x):
    """All of them after one Dense, as outputs of one model."""
    y = L.Dense(F, name="before")(x)
    attention = L.MultiHeadAttention(2, 2, name="attention")
    return {
        "log_softmax": L.Activation("log_softmax")(y),
        "unit": L.UnitNormalization()(y),
        "prelu": L.PReLU(shared_axes=[1])(y),
        "one_hot": L.Dense(2)(L.Discretization([-0.5, 0.5], output_mode="one_hot")(y[:, :, :1])),
        "attention": attention(y, y, use_causal_mask=True),
        "maximum": L.Maximum()([y, L.Dense(F)(y)]),
        "largest": L.GlobalMaxPooling1D()(y),
        "sums": L.Dense(2)(keras.ops.flip(keras.ops.cumsum(keras.ops.flip(y, -1), axis=-1), -1)),
        "sums_over_time": L.Dense(2)(keras.ops.cumsum(y, axis=1)),
        "product": keras.ops.prod(y, axis=-1, keepdims=True),
        "sorted": L.Dense(2)(keras.ops.sort(y, axis=-1)),
        "place": L.Dense(2)(keras.ops.one_hot(keras.ops.argmax(_apart(y), axis=-1), F)),
    }


def nested(x):
    """A model inside of a model, and a layer and a model that are called twice."""
    inner = keras.Input((T, F))
    encoder = keras.Model(
        inner, L.Dense(3, activation="tanh")(kgated.GRU(3)(inner)), name="encoder"
    )
    shared = L.Dense(F, name="shared")
    first, second = shared(x), shared(L.ReLU()(x))
    return {"likeness": L.Dense(2)(L.Subtract()([encoder(first), encoder(second)]))}


@pytest.mark.parametrize("build", [heads, nested])
@pytest.mark.parametrize(("quantize", "limit"), [("int8", 0.12), ("int16x8", 0.02)])
def test_integers_agree_with_keras(build, quantize, limit, rng, tmp_path):
    x = keras.Input((T, F))
    model = streams.randomize(keras.Model(x, build(x)), rng)
    data = rng.normal(size=(12, T, F)).astype(np.float32)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(model, path, mode="sequence", quantize=quantize, calibration=data)
    edge, names = SequenceModel(path), list(model.output)
    runs = [edge.run(frames) for frames in data]
    expected = model(data, training=False)
    for name in names:
        wanted = np.asarray(expected[name])
        results = np.stack([run if len(names) == 1 else run[name] for run in runs])
        rmse = np.sqrt(np.mean((results - wanted) ** 2))
        assert rmse < limit * wanted.std(), name


def test_a_silent_frame_has_no_direction_and_is_no_nan(rng, tmp_path):
    x = keras.Input((T, F))
    model = keras.Model(x, L.UnitNormalization()(x))
    data = rng.normal(size=(3, T, F)).astype(np.float32)
    data[:, 1] = 0.0
    for quantize, tolerance in (("none", 1e-6), ("int8", 0.03), ("int16x8", 1e-3)):
        path = tmp_path / f"{quantize}.tflite"
        kgated.to_tflite(model, path, mode="sequence", quantize=quantize, calibration=data)
        results = SequenceModel(path).run(data[0])
        np.testing.assert_array_equal(results[1], 0.0)
        np.testing.assert_allclose(results, np.asarray(model(data[:1]))[0], atol=tolerance)
