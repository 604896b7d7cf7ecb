"""Subclasses of Keras's layers with a `call` of their own: they never count as their base."""

import keras
import numpy as np
import pytest
import streams
from kgated_edge import SequenceModel, open_model

import kgated
from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.rnn import Lowering
from kgated.errors import ConversionError

T, F = 6, 4
L = keras.layers


class Doubled(L.Dense):
    """Twice what its base computes."""

    def call(self, x):
        return 2.0 * super().call(x)


class Backwards(L.Dense):
    """The frames in reversed order, by TensorFlow alone, so that Keras can't look inside."""

    def call(self, x):
        import tensorflow as tf

        return tf.reverse(super().call(x), [1]) if tf.is_tensor(x) else super().call(x)[:, ::-1]


class LastOnly(L.GlobalAveragePooling1D):
    """No average."""

    def call(self, x, mask=None):
        return x[:, -1]


class Negated(L.TimeDistributed):
    """The base's results with the other sign."""

    def call(self, x):
        return -self.layer(x)


class Plus(L.Bidirectional):
    """One more than the base's results."""

    def call(self, sequences, initial_state=None, mask=None, training=None):
        return super().call(sequences, initial_state, mask, training) + 1.0


def model_of(layer, rng):
    x = keras.Input((T, F))
    return streams.randomize(keras.Model(x, layer(x)), rng)


def test_a_dense_of_the_users_own_streams_as_it_is(rng):
    x = keras.Input((None, F))
    model = streams.randomize(keras.Model(x, Doubled(3)(x)), rng)
    frames = rng.normal(size=(T, F)).astype(np.float32)
    streams.assert_equal(streams.stream(model, frames), streams.prefixes(model, frames))


@pytest.mark.parametrize(
    "layer",
    [lambda: Negated(L.Dense(3)), lambda: Plus(L.GRU(3, return_sequences=True))],
    ids=["TimeDistributed", "Bidirectional"],
)
def test_a_wrapper_of_the_users_own_is_called_itself(layer, rng):
    model = model_of(layer(), rng)
    graph = sequence_model(model, Lowering("unrolled"))
    x = rng.normal(size=(1, T, F)).astype(np.float32)
    (result,) = graph.model({"frames": x}).values()
    np.testing.assert_allclose(result, model(x), atol=1e-5)


@pytest.mark.parametrize("layer", [lambda: Backwards(3), LastOnly], ids=["Dense", "pooling"])
def test_padding_is_not_trusted_to_a_layer_that_has_rows_for_its_base(layer, rng):
    model = model_of(layer(), rng)
    with pytest.raises(ConversionError, match="may see padding"):
        sequence_model(model, Lowering("unrolled"), max_length=T)


def test_training_in_integers_refuses_it(rng):
    with pytest.raises(ValueError, match=r"\(Doubled\)"):
        kgated.quantize_aware(model_of(Doubled(3), rng))


def test_padding_of_an_exponential_activation_gives_no_infinity(rng, tmp_path):
    x = keras.Input((T, 1))
    steep = L.Dense(1, use_bias=True, activation="exponential", name="steep")
    model = keras.Model(x, L.GlobalAveragePooling1D()(steep(x)))
    steep.set_weights([np.array([[-300.0]], np.float32), np.array([200.0], np.float32)])
    path = tmp_path / "m.tflite"
    frames = np.full((T, 1), 0.65, np.float32)  # exp(5); exp(200) at padded frames is infinite
    kgated.to_tflite(model, path, mode="sequence", max_length=T, calibration=frames[None])
    result = SequenceModel(path).run(frames[:2])
    np.testing.assert_allclose(result, np.asarray(model(frames[None]))[0], rtol=1e-3)


class Scaled(L.Layer):
    """A product and a sum with weights of the layer itself."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 3), name="matrix")
        self.gain = self.add_weight(shape=(3,), name="gain")

    def call(self, x):
        return keras.ops.tanh(keras.ops.matmul(x, self.matrix) * self.gain)


@pytest.mark.parametrize("options", [{"mode": "stream"}, {"mode": "sequence", "max_length": T}])
def test_weights_that_a_layer_uses_itself_are_in_the_file(options, rng, tmp_path):
    x = keras.Input((None, F))
    model = streams.randomize(keras.Model(x, kgated.GRU(3)(Scaled()(x))), rng)
    frames = rng.normal(size=(T - 1, F)).astype(np.float32)
    kgated.to_tflite(model, tmp_path / "m.tflite", **options)
    result = open_model(tmp_path / "m.tflite").run(frames)
    last = result[-1] if options["mode"] == "stream" else result
    np.testing.assert_allclose(last, np.asarray(model(frames[None]))[0], atol=1e-5)
