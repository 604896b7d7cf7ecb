"""Cells of any kind: their states are what `keras.layers.RNN` passes, in streams and sequences."""

import graphs
import keras
import numpy as np
import pytest
from keras import ops
from kgated_edge import open_model
from streams import randomize

import kgated
from kgated.deploy.streaming import step_model

L = keras.layers
T, F = 6, 3


@keras.saving.register_keras_serializable("tests")
class Leaky(L.Layer):
    """One state of `units`, an output of another size.

    Args:
        units: the size of the state.
        start: initial state: "zeros", "ones", "learned" or "lowest".
        nested: whether the new state is returned in a list.
    """

    def __init__(self, units, start="zeros", nested=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.start, self.nested = units, start, nested
        self.state_size, self.output_size = units, 2

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.head = self.add_weight(shape=(self.units, 2), name="head")
        self.first = self.add_weight(shape=(self.units,), name="first")

    def get_initial_state(self, batch_size=None):
        value = {"zeros": 0.0, "ones": 1.0, "learned": self.first, "lowest": -1e9}[self.start]
        return ops.ones((batch_size, self.units)) * value

    def call(self, x, states):
        (h,) = states  # a list of one, as Keras passes it
        drive = ops.matmul(x, self.kernel)
        new = ops.maximum(h, drive) if self.start == "lowest" else 0.7 * h + ops.tanh(drive)
        return ops.matmul(new, self.head), [new] if self.nested else new

    def get_config(self):
        options = {"units": self.units, "start": self.start, "nested": self.nested}
        return {**super().get_config(), **options}


@keras.saving.register_keras_serializable("tests")
class Pair(L.Layer):
    """A tuple of states of unlike sizes; the second counts down from 1."""

    state_size, output_size = (4, 1), 4

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

    def get_initial_state(self, batch_size=None):
        return ops.zeros((batch_size, 4)), ops.ones((batch_size, 1))

    def call(self, x, states, training=True):
        assert not training
        h, weight = states
        h = ops.tanh(ops.matmul(x, self.kernel) * weight + 0.5 * h)
        return h, (h, 0.8 * weight)


def model_of(*layers, shape=(T, F)):
    return keras.Sequential([keras.Input(shape), *layers])


def cell(**options):
    return L.RNN(Leaky(5, **options), return_sequences=True)


MODELS = {
    "int state": lambda: model_of(cell()),
    "new state outside a list": lambda: model_of(cell(nested=False)),
    "constant start": lambda: model_of(cell(start="ones")),
    "learned start": lambda: model_of(cell(start="learned", nested=False), L.Dense(2)),
    "lowest start": lambda: model_of(cell(start="lowest")),
    "tuple of states": lambda: model_of(L.RNN(Pair())),
    "masked": lambda: model_of(L.Masking(), cell(start="learned"), L.RNN(Pair())),
    "stacked": lambda: model_of(
        L.RNN([Pair(), L.LSTMCell(4), Leaky(3), kgated.GRUCell(4)], return_sequences=True)
    ),
    "ConvLSTM1D": lambda: model_of(
        L.ConvLSTM1D(2, 3, padding="same", return_sequences=True),
        L.ConvLSTM1D(3, 2, strides=2),
        L.Flatten(),
        shape=(T, 5, 2),
    ),
    "ConvLSTM2D": lambda: model_of(
        L.ConvLSTM2D(2, 2, return_sequences=True),
        L.TimeDistributed(L.Flatten()),
        L.LSTM(3),
        shape=(T, 4, 3, 2),
    ),
    "ConvLSTM3D": lambda: model_of(L.ConvLSTM3D(2, 2), L.Flatten(), shape=(3, 3, 3, 2, 1)),
}


def built(name, rng):
    model = randomize(MODELS[name](), rng)
    x = rng.normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    if name == "masked":
        x[0, [0, 3]] = 0
    return model, x


@pytest.mark.parametrize("name", MODELS)
def test_sequences_equal_keras(name, rng):
    model, x = built(name, rng)
    graphs.assert_sequence_equals_keras(model, [x])


@pytest.mark.parametrize("name", MODELS)
def test_streams_equal_keras_at_every_prefix(name, rng):
    model, x = built(name, rng)
    graphs.assert_stream_equals_keras(model, x[0])


@pytest.mark.parametrize("name", ["learned start", "tuple of states", "ConvLSTM2D"])
def test_padded_sequences_equal_keras_at_every_length(name, rng):
    model, x = built(name, rng)
    free = keras.Sequential([keras.Input((None, *x.shape[2:])), *model.layers])
    for length in (1, 4, T):
        expected = graphs.predict(free, [x[:, :length]])
        for lowering in graphs.LOWERINGS:
            results = graphs.run_sequence(model, [x[:, :length]], lowering, max_length=T)
            graphs.assert_close(results, expected)


def test_bidirectional_layers_start_from_the_cells_own_states(rng):
    model = randomize(model_of(L.Bidirectional(cell(start="learned"), merge_mode="ave")), rng)
    graphs.assert_sequence_equals_keras(model, [rng.normal(size=(1, T, F)).astype(np.float32)])


def test_only_a_start_other_than_zeros_adds_a_state():
    zeros, ones = (step_model(model_of(cell(start=start))).states for start in ("zeros", "ones"))
    assert len(ones) == len(zeros) + 1
    assert ones[-1].endswith("_started")


@pytest.mark.parametrize("state", ["external", "internal"])
@pytest.mark.parametrize(("quantize", "limit"), [("none", 1e-4), ("dynamic", 0.05)])
def test_files_start_again_from_the_cells_own_states(state, quantize, limit, rng, tmp_path):
    model, x = built("learned start", rng)
    kgated.to_tflite(model, tmp_path / "m.tflite", state=state, quantize=quantize)
    edge, expected = open_model(tmp_path / "m.tflite"), graphs.predict(model, [x])[0][0]
    for _ in range(2):
        edge.reset()
        assert np.abs(edge.run(x[0]) - expected).max() <= limit * np.abs(expected).max()
    edge.run(x[0])
    assert np.abs(edge.run(x[0]) - expected).max() > 2 * limit * np.abs(expected).max()


@pytest.mark.parametrize(("quantize", "limit"), [("int8", 0.1), ("int16x8", 0.02)])
def test_learned_starts_and_selected_constants_are_quantized(quantize, limit, rng, tmp_path):
    table = ops.convert_to_tensor(rng.normal(size=(1, 1, 2)).astype(np.float32))
    inputs = keras.Input((T, F))
    states = cell(start="learned")(inputs)
    chosen = L.Dense(2)(ops.where(states > 0, states, table))
    models = {"sequence": keras.Model(inputs, chosen), "stream": keras.Model(inputs, states)}
    x = rng.normal(size=(16, T, F)).astype(np.float32)
    for mode, model in models.items():
        path, expected = tmp_path / f"{mode}.tflite", graphs.predict(randomize(model, rng), [x[:1]])
        kgated.to_tflite(model, path, mode=mode, quantize=quantize, calibration=x)
        error = np.abs(open_model(path).run(x[0]) - expected[0][0]).max()
        assert error <= limit * np.abs(expected[0][0]).max()
