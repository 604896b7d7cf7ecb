"""The classifier: masked as if unpadded, one frame at a time, seeded."""

import keras
import numpy as np
import pytest

import kgated
from kgated.data import pad, real_frames
from kgated.models import sequence_classifier

CELLS = [kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU, keras.layers.LSTM, keras.layers.GRU]
CLASSES = 4


@pytest.fixture
def data(rng):
    return pad([rng.normal(3.0, 2.0, (n, 3)).astype(np.float32) for n in (5, 2, 9, 1)])


def build(data, recurrent=kgated.LSTM, **options):
    return sequence_classifier(
        recurrent, frames=real_frames(data), classes=CLASSES, units=6, **options
    )


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("recurrent", CELLS, ids=lambda c: f"{c.__module__[:6]}.{c.__name__}")
def test_a_padded_batch_gives_what_the_real_frames_give(data, recurrent, layers):
    model = build(data, recurrent, layers=layers)
    padded = np.asarray(model(data.x))
    separate = [
        np.asarray(model(x[None, :n]))[0] for x, n in zip(data.x, data.lengths, strict=True)
    ]
    np.testing.assert_allclose(padded, separate, atol=1e-6)
    # The tolerance sees a frame more: without the mask the padding would count.
    longer = np.asarray(model(np.where(data.x == 0.0, 1e-3, data.x)))
    assert np.abs(longer[1] - separate[1]).max() > 1e-3


def test_a_constant_feature_has_a_variance_of_one_and_converts_to_int8(data, tmp_path):
    data.x[..., 1] = np.where(np.any(data.x != 0.0, axis=-1), 1013.25, 0.0)
    model = build(data)
    variance = np.asarray(model.layers[1].variance).ravel()
    assert variance[1] == 1.0
    np.testing.assert_allclose(variance[[0, 2]], real_frames(data)[:, [0, 2]].var(0), rtol=1e-4)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(np.asarray(loaded.layers[1].variance).ravel(), variance)
    data.x[..., 1] *= 0.001  # of like size; else int8 has no steps for the others
    kgated.to_tflite(build(data), tmp_path / "m.tflite", quantize="int8", calibration=data)


def test_mean_and_variance_are_those_of_the_real_frames(data):
    scaled = keras.Sequential(build(data).layers[:2])(data.x)
    real = np.asarray(scaled)[np.arange(9) < data.lengths[:, None]]
    np.testing.assert_allclose(real.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(real.std(axis=0), 1.0, atol=1e-5)


def test_a_seed_gives_the_same_model_whatever_was_drawn_before(data):
    first = build(data, seed=3).get_weights()
    keras.random.normal((5,))
    second, different = build(data, seed=3).get_weights(), build(data, seed=4).get_weights()
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, different, strict=True))


def test_a_seed_gives_the_same_dropout(data):
    outputs = [np.asarray(build(data, seed=s)(data.x, training=True)) for s in (3, 3)]
    assert (outputs[0] == outputs[1]).all()


def test_a_classifier_streams_as_in_keras(data, tmp_path):
    model = build(data, kgated.GRU, layers=2)
    kgated.to_tflite(model, tmp_path / "m.tflite", calibration=data)
    from kgated_edge import EdgeModel

    edge = EdgeModel(tmp_path / "m.tflite")
    for x, n, wanted in zip(data.x, data.lengths, np.asarray(model(data.x)), strict=True):
        edge.reset()
        np.testing.assert_allclose(edge.run(x[:n])[-1], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": np.zeros((0, 3))}, r"`frames` must be \(n, features\)"),
        ({"frames": np.zeros((4, 5, 3))}, r"Received: \(4, 5, 3\)"),
        ({"frames": np.array([[0.0], [np.nan]])}, "`frames` holds NaN or inf"),
        ({"classes": 1}, "`classes` must be at least 2"),
        ({"layers": 0}, "`layers` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        sequence_classifier(**{"frames": np.eye(3), "classes": 3, **change})
