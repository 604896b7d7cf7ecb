"""Recurrent layers anywhere: inside other layers, shared, and over a sequence inside a frame."""

import graphs
import keras
import numpy as np
import pytest
from kgated_edge import open_model
from streams import randomize

import kgated
from kgated.deploy.streaming import step_model

L = keras.layers
T, N, F = 4, 5, 3


class Block(L.Layer):
    """A layer with two inner layers and a weight."""

    def __init__(self, inner, units, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.units, self.norm = inner, units, L.LayerNormalization()

    def build(self, shape):
        self.inner.build(shape)
        self.norm.build((*shape[:2], self.units))
        self.gain = self.add_weight(shape=(self.units,), name="gain")

    def call(self, x):
        return self.norm(self.inner(x)) * self.gain + 0.5

    def compute_output_shape(self, shape):
        return (*shape[:2], self.units)


class Encoder(keras.Model):
    """A subclassed model inside another model."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = kgated.LSTM(4, return_sequences=True)
        self.head = L.Dense(3)

    def call(self, x):
        return self.head(self.hidden(x))


class Doubled(L.RNN):
    """A recurrent layer with a custom `call` that calls that of Keras."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 1.0 + super().call(2.0 * sequences, initial_state, mask, training)


def model_of(*layers, shape=(T, F)):
    return keras.Sequential([keras.Input(shape), *layers])


def inner_sequences(layer, *layers):
    return model_of(L.TimeDistributed(layer), *layers, shape=(T, N, F))


def subclassed():
    x = keras.Input((None, F))
    return keras.Model(x, L.Dense(2)(Encoder()(x)))


def inner_model():
    inner = [L.GRU(4, return_sequences=True), L.Bidirectional(L.LSTM(2))]
    return model_of(*inner, shape=(N, F))


STREAMING = {
    "TimeDistributed": lambda: inner_sequences(L.LSTM(3), kgated.GRU(2)),
    "dual path": lambda: inner_sequences(
        L.Bidirectional(L.GRU(3, return_sequences=True)),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(4, return_sequences=True),
    ),
    "model in TimeDistributed": lambda: inner_sequences(
        inner_model(), L.GRU(3, return_sequences=True)
    ),
    "layer of the user's own": lambda: model_of(
        Block(L.LSTM(4, return_sequences=True), 4), L.Dense(2)
    ),
    "layer in a layer": lambda: model_of(Block(Block(L.GRU(4, return_sequences=True), 4), 4)),
    "layer in TimeDistributed": lambda: inner_sequences(
        Block(L.GRU(4, return_sequences=True), 4), L.TimeDistributed(L.Flatten()), L.GRU(3)
    ),
    "subclass of Model": subclassed,
}
SEQUENCES = {
    **STREAMING,
    "Bidirectional in a layer": lambda: model_of(
        Block(L.Bidirectional(L.LSTM(2, return_sequences=True)), 4)
    ),
    "recurrent layer with a call of its own": lambda: model_of(
        Doubled(L.GRUCell(3), return_sequences=True, go_backwards=True)
    ),
    "backwards in TimeDistributed": lambda: inner_sequences(
        L.SimpleRNN(3, go_backwards=True, return_sequences=True), L.Flatten(), L.Dense(2)
    ),
}


def built(build, rng):
    model = randomize(build(), rng)
    return model, rng.normal(size=(1, T, *model.input_shape[2:])).astype(np.float32)


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_equal_keras(name, rng):
    model, x = built(SEQUENCES[name], rng)
    graphs.assert_sequence_equals_keras(model, [x])


@pytest.mark.parametrize("name", STREAMING)
def test_streams_equal_keras_at_every_prefix(name, rng):
    model, x = built(STREAMING[name], rng)
    graphs.assert_stream_equals_keras(model, x[0])


@pytest.mark.parametrize("name", ["TimeDistributed", "layer in a layer", "subclass of Model"])
def test_padded_sequences_equal_keras(name, rng):
    model, x = built(SEQUENCES[name], rng)
    results = graphs.run_sequence(model, [x], max_length=T)
    graphs.assert_close(results, graphs.predict(model, [x]))
    before = graphs.run_sequence(model, [x[:, :2]], max_length=T)
    if len(model.output_shape) > 2:
        graphs.assert_close(before, [results[0][:, :2]])


def test_masks_reach_the_layer_inside_a_frame(rng):
    inner = keras.Sequential([keras.Input((N, F)), L.Masking(), L.LSTM(3)])
    model = randomize(inner_sequences(inner, L.GRU(2)), rng)
    x = rng.normal(size=(1, T, N, F)).astype(np.float32)
    x[0, :, 3:] = 0
    expected = graphs.assert_sequence_equals_keras(model, [x])
    graphs.assert_stream_equals_keras(model, x[0])
    unmasked = graphs.predict(model, [x + 1e-6])
    assert np.abs(unmasked[0] - expected[0]).max() > 1e-3


def siamese(shared, count=2):
    inputs = [keras.Input((T, F), name=f"input_{n}") for n in range(count)]
    return keras.Model(inputs, L.Dense(1)(L.Concatenate()([shared(x) for x in inputs])))


SHARED = {
    "Keras layer": lambda: L.GRU(3),
    "kgated layer": lambda: kgated.PeepholeLSTM(3),
    "backwards": lambda: L.LSTM(3, go_backwards=True),
    "Bidirectional": lambda: L.Bidirectional(L.GRU(3)),
    "Sequential": lambda: model_of(L.Bidirectional(L.LSTM(3, return_sequences=True)), L.LSTM(2)),
    "layer of the user's own": lambda: keras.Sequential(
        [keras.Input((T, F)), Block(L.GRU(4, return_sequences=True), 4), L.Flatten()]
    ),
}


@pytest.mark.parametrize("name", SHARED)
def test_a_shared_layer_is_called_on_every_input(name, rng):
    model = randomize(siamese(SHARED[name](), 3), rng)
    arrays = [rng.normal(size=(1, T, F)).astype(np.float32) for _ in range(3)]
    expected = graphs.assert_sequence_equals_keras(model, arrays)
    swapped = graphs.predict(model, arrays[::-1])
    assert np.abs(swapped[0] - expected[0]).max() > 1e-3


def test_a_layer_called_on_its_own_results(rng):
    layer, x = L.GRU(F, return_sequences=True), keras.Input((None, F))
    model = randomize(keras.Model(x, layer(layer(x))), rng)
    frames = rng.normal(size=(1, T, F)).astype(np.float32)
    graphs.assert_sequence_equals_keras(model, [frames])
    graphs.assert_stream_equals_keras(model, frames[0])
    assert len(step_model(model).states) == 2


@pytest.mark.parametrize("mode", ["stream", "sequence"])
def test_a_file_has_the_weights_of_a_shared_layer_once(mode, tmp_path):
    sizes = []
    for count in (1, 3):
        model, path = siamese(L.LSTM(48), count), tmp_path / f"{count}.tflite"
        kgated.to_tflite(
            model, path, mode=mode, **({"lowering": "while"} if mode != "stream" else {})
        )
        sizes.append(path.stat().st_size)
    weights = 4 * 4 * 48 * (48 + F + 1)
    assert sizes[1] - sizes[0] < weights


def test_a_decoder_of_the_stream_runs_at_every_step(rng):
    x = keras.Input((None, F))
    model = keras.Model(x, L.Bidirectional(L.LSTM(2))(L.RepeatVector(3)(kgated.GRU(4)(x))))
    randomize(model, rng)
    graphs.assert_stream_equals_keras(model, rng.normal(size=(T, F)).astype(np.float32))


def test_states_of_an_encoder_start_a_decoder(rng):
    x = keras.Input((T, F))
    last, *states = L.Bidirectional(L.LSTM(3, return_state=True))(x)
    decoded = L.Bidirectional(L.LSTM(3, return_sequences=True))(
        L.RepeatVector(T + 2)(last), initial_state=states
    )
    model = randomize(keras.Model(x, decoded), rng)
    graphs.assert_sequence_equals_keras(model, [rng.normal(size=(1, T, F)).astype(np.float32)])


@pytest.mark.parametrize("mode", ["stream", "sequence"])
@pytest.mark.parametrize(("quantize", "limit"), [("none", 1e-4), ("dynamic", 0.05)])
def test_files_equal_keras(mode, quantize, limit, rng, tmp_path):
    model, x = built(STREAMING["dual path"], rng)
    kgated.to_tflite(model, tmp_path / "m.tflite", mode=mode, quantize=quantize)
    result, expected = open_model(tmp_path / "m.tflite").run(x[0]), graphs.predict(model, [x])[0][0]
    assert np.abs(result - expected).max() <= limit * max(1, np.abs(expected).max())
