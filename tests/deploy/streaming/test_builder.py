"""One step of a model, frame by frame, against the Keras model over the whole sequence."""

import keras
import numpy as np
import pytest
import streams
from model_builders import sequential
from streams import randomize

import kgated
from kgated.deploy.streaming import step_model
from kgated.errors import ConversionError
from kgated.keras_internals.graph import any_length

FEATURES, STEPS = 5, 7

RECURRENT = [
    kgated.LSTM,
    kgated.PeepholeLSTM,
    kgated.GRU,
    keras.layers.LSTM,
    keras.layers.GRU,
    keras.layers.SimpleRNN,
]


def stream(model, frames):
    return only(streams.stream(model, frames))


def prefixes(model, frames):
    return only(streams.prefixes(model, frames))


def only(values):
    (value,) = values
    return value


@pytest.fixture
def frames(rng):
    return rng.normal(size=(STEPS, FEATURES)).astype(np.float32)


@pytest.mark.parametrize(
    "layer", RECURRENT, ids=lambda c: f"{c.__module__.split('.')[0]}.{c.__name__}"
)
def test_steps_equal_keras_at_every_frame(layer, frames, rng):
    model = sequential(layer(4, return_sequences=True), layer(3), keras.layers.Dense(2))
    randomize(model, rng)
    np.testing.assert_allclose(stream(model, frames), prefixes(model, frames), atol=1e-6)


def test_the_comparison_sees_a_swapped_gate(frames, rng):
    model = randomize(sequential(kgated.LSTM(4)), rng)
    reference = prefixes(model, frames)
    cell = model.layers[0].cell
    i, f, g, o = np.split(keras.ops.convert_to_numpy(cell.kernel.value), 4, axis=1)
    cell.kernel.assign(np.concatenate([f, i, g, o], axis=1))
    assert np.abs(stream(model, frames) - reference).max() > 1e-3


@pytest.mark.parametrize(
    "layer", RECURRENT, ids=lambda c: f"{c.__module__.split('.')[0]}.{c.__name__}"
)
def test_a_masked_frame_is_skipped_as_in_keras(layer, frames, rng):
    model = sequential(keras.layers.Masking(), layer(4, return_sequences=True), layer(3))
    randomize(model, rng)
    frames[[0, 3]] = 0.0
    streamed = stream(model, frames)
    np.testing.assert_allclose(streamed, prefixes(model, frames), atol=1e-6)
    np.testing.assert_array_equal(streamed[3], streamed[2])


def test_zero_output_for_mask(frames, rng):
    layer = kgated.GRU(4, return_sequences=True, zero_output_for_mask=True)
    model = randomize(sequential(keras.layers.Masking(), layer), rng)
    frames[3] = 0.0
    expected = model.predict(frames[None], verbose=0)[0]
    streamed = stream(model, frames)
    assert not streamed[3].any()
    np.testing.assert_allclose(streamed, expected, atol=1e-6)


def test_a_token_model_streams(rng):
    model = keras.Sequential(
        [keras.Input((None,)), keras.layers.Embedding(11, 4, mask_zero=True), kgated.GRU(5)]
    )
    tokens = np.array([3, 0, 10, 1], np.int32)
    assert step_model(model).vocabulary == {"frame": 11}
    np.testing.assert_allclose(stream(model, tokens), prefixes(model, tokens), atol=1e-6)


def test_every_per_frame_layer(frames, rng):
    model = sequential(
        keras.layers.Normalization(mean=[0.1] * FEATURES, variance=[2.0] * FEATURES),
        keras.layers.Dense(6, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.LayerNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Dropout(0.5),
        kgated.LSTM(4, return_sequences=True),
        keras.layers.Dense(3, activation="softmax"),
    )
    weights = [np.abs(w + rng.normal(0, 0.3, w.shape)) for w in model.get_weights()]
    model.set_weights(weights)
    expected = model.predict(frames[None], verbose=0)[0]
    np.testing.assert_allclose(stream(model, frames), expected, atol=1e-6)


def test_functional_model_with_fixed_length(frames, rng):
    inputs = keras.Input((STEPS, FEATURES))
    hidden = keras.layers.Dense(4, activation="tanh")(inputs)
    # As many outputs as steps: their number must not be taken for a time axis.
    model = keras.Model(inputs, keras.layers.Dense(STEPS)(kgated.PeepholeLSTM(3)(hidden)))
    randomize(model, rng)
    reference = prefixes(any_length(model), frames)
    np.testing.assert_allclose(stream(model, frames), reference, atol=1e-6)
    np.testing.assert_allclose(reference[-1:], model.predict(frames[None], verbose=0), atol=1e-6)


def test_mixed_precision_and_stateful_models_stream_in_float32(frames, rng):
    layer = kgated.LSTM(4, dtype="mixed_bfloat16", stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, None, FEATURES)), layer])
    randomize(model, rng)
    plain = sequential(kgated.LSTM(4))
    plain.set_weights([w for w in model.get_weights() if w.shape != (2, 4)])
    np.testing.assert_allclose(stream(model, frames), prefixes(plain, frames), atol=1e-6)
    assert not any(keras.ops.convert_to_numpy(s.value).any() for s in layer.states)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def with_initial_state():
    x, h = keras.Input((None, FEATURES)), keras.layers.Dense(4)
    start = h(keras.layers.Lambda(lambda a: a[:, 0])(x))
    return keras.Model(x, kgated.GRU(4, name="guilty")(x, initial_state=[start]))


REFUSED = {
    "bidirectional": (
        lambda: sequential(keras.layers.Bidirectional(kgated.LSTM(3), name="guilty")),
        "guilty",
    ),
    "go_backwards": (
        lambda: sequential(kgated.LSTM(3, go_backwards=True, name="guilty")),
        "guilty",
    ),
    "flatten": (
        lambda: keras.Sequential([keras.Input((4, FEATURES)), keras.layers.Flatten(name="guilty")]),
        "guilty",
    ),
    "normalizes over time": (
        lambda: keras.Sequential(
            [keras.Input((4, FEATURES)), keras.layers.LayerNormalization(axis=1, name="guilty")]
        ),
        "axis=",
    ),
    "no time axis": (
        lambda: keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(2)]),
        "(batch, time",
    ),
    "free features": (
        lambda: keras.Sequential([keras.Input((None, None)), keras.layers.Activation("relu")]),
        "(batch, time",
    ),
    "subclassed": (lambda: Subclassed(name="guilty"), "guilty"),
    "not built": (lambda: keras.Sequential([kgated.LSTM(3)], name="guilty"), "guilty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stream_is_refused_by_name(case):
    build, names = REFUSED[case]
    with pytest.raises(ConversionError, match=names.replace("(", r"\(")):
        step_model(build())


def test_return_state_is_refused():
    x = keras.Input((None, FEATURES))
    output, _, _ = kgated.LSTM(3, return_state=True, name="guilty")(x)
    with pytest.raises(ConversionError, match=r"guilty.*return_state"):
        step_model(keras.Model(x, output))


def test_an_initial_state_in_the_graph_is_refused():
    with pytest.raises(ConversionError, match=r"guilty|lambda"):
        step_model(with_initial_state())
