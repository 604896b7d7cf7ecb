"""Files that Keras 2 itself writes, loaded into Keras 3, against Keras 2's own predictions."""

import keras
import numpy as np
import pytest

from kgated.interop import load_h5

pytestmark = [
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf_keras is TensorFlow's"),
    pytest.mark.filterwarnings("ignore"),  # what Keras 2 says of its own file formats
]
tf_keras = pytest.importorskip("tf_keras", reason="Keras 2 is not installed")

T, F = 8, 5


def chain(*names_and_options):
    """A Sequential model of Keras 2 over (B, T, F)."""
    layers = [getattr(tf_keras.layers, name)(*a, **k) for name, a, k in names_and_options]
    return tf_keras.Sequential([tf_keras.layers.Input((T, F)), *layers])


def layer(name, *arguments, **options):
    return name, arguments, options


def states_from_inputs():
    L = tf_keras.layers
    x, h, c = L.Input((T, F)), L.Input((4,)), L.Input((4,))
    y = L.LSTM(4, return_sequences=True)(x, initial_state=[h, c])
    return tf_keras.Model([x, h, c], L.Dense(2)(L.Concatenate()([y, x])))


def model_in_a_model():
    L = tf_keras.layers
    gru = L.GRU(3, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid")
    inner = tf_keras.Sequential([L.Input((T, F)), gru, L.BatchNormalization(), L.Dense(3)])
    x = L.Input((T, F))
    return tf_keras.Model(x, L.LSTM(2)(L.Add()([inner(x), L.Dense(3)(x)])))


def one_layer_called_twice():
    L = tf_keras.layers
    x, dense = L.Input((T, F)), L.Dense(F)
    return tf_keras.Model(x, L.GRU(2)(dense(dense(x))))


def two_branches_in_another_order():
    """Equal shapes on both branches: weights taken by their place would pass unseen."""
    L = tf_keras.layers
    a, b = L.Input((T, F)), L.Input((T, F))
    p = L.GRU(4, return_sequences=True, name="zz")(b)
    q = L.GRU(4, return_sequences=True, name="aa")(a)
    return tf_keras.Model([a, b], L.Subtract()([L.Dense(4, name="mm")(p), q]))


def attention():
    L = tf_keras.layers
    x = L.Input((T, F))
    y = L.MultiHeadAttention(2, 3)(x, x, key=L.Dense(F)(x))
    return tf_keras.Model(x, L.LSTM(2)(y))


def embedding():
    L = tf_keras.layers
    return tf_keras.Sequential([L.Embedding(11, 4, input_length=T, mask_zero=True), L.LSTM(3)])


def cells():
    L = tf_keras.layers
    both = [L.LSTMCell(3, recurrent_activation="hard_sigmoid"), L.GRUCell(2)]
    return tf_keras.Sequential([L.Input((T, F)), L.RNN(both, return_sequences=True), L.LSTM(2)])


def stateful():
    L = tf_keras.layers
    return tf_keras.Sequential([L.LSTM(3, stateful=True, batch_input_shape=(2, T, F))])


def normalized():
    L = tf_keras.layers
    norm = L.Normalization()
    norm.adapt(np.random.default_rng(3).normal(2.0, 3.0, (8, T, F)))
    return tf_keras.Sequential([L.Input((T, F)), norm, L.GRU(2)])


MODELS = {
    "bidirectional LSTM with hard sigmoids": lambda: chain(
        layer("Masking", 0.0),
        layer(
            "Bidirectional",
            tf_keras.layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid"),
        ),
        layer("Dense", 2, activation="hard_sigmoid", kernel_regularizer="l2"),
    ),
    "GRUs of both kinds with hard sigmoids": lambda: chain(
        layer("GRU", 3, recurrent_activation="hard_sigmoid", return_sequences=True),
        layer("GRU", 3, recurrent_activation="hard_sigmoid", reset_after=False, use_bias=False),
        layer("Activation", "hard_sigmoid"),
    ),
    "convolution and the like": lambda: chain(
        layer("Conv1D", 6, 3, padding="causal", dilation_rate=2),
        layer("BatchNormalization"),
        layer("LeakyReLU", 0.1),
        layer("LayerNormalization"),
        layer("MaxPooling1D", 2),
        layer("SeparableConv1D", 4, 2),
        layer("SimpleRNN", 3, return_sequences=True),
        layer("TimeDistributed", tf_keras.layers.Dense(2)),
        layer("GlobalAveragePooling1D"),
        layer("Softmax"),
    ),
    "frozen layers": lambda: chain(
        layer("BatchNormalization", trainable=False), layer("LSTM", 3, trainable=False)
    ),
    "embedding": embedding,
    "cells": cells,
    "stateful": stateful,
    "normalization": normalized,
    "states from inputs": states_from_inputs,
    "a model in a model": model_in_a_model,
    "a layer called twice": one_layer_called_twice,
    "two branches": two_branches_in_another_order,
    "attention": attention,
}


def with_random_weights(model):
    if not model.built:
        model.build((None, T))
    rng = np.random.default_rng(0)
    values = [
        np.abs(rng.normal(size=w.shape))
        * np.where("variance" in w.name, 1, rng.choice([-0.5, 0.5]))
        if len(w.shape)
        else w.numpy()
        for w in model.weights
    ]
    model.set_weights(values)
    return model


def inputs_of(model, rng):
    """Random inputs for a model of Keras 3, two of each."""
    arrays = []
    for x in model.inputs:
        shape = [2, *(T if size is None else size for size in x.shape[1:])]
        tokens = x.dtype == "int32"
        array = rng.integers(0, 11, shape) if tokens else rng.normal(size=shape)
        arrays.append(array.astype(x.dtype))
    return arrays


def run(model, arrays):
    """Op by op: `predict` would trace each model, for a single call."""
    if not isinstance(arrays, list):
        arrays = [arrays]
    return np.asarray(model(arrays if len(arrays) > 1 else arrays[0], training=False))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_what_it_computed_in_keras_2(name, tmp_path, rng):
    tf_keras.utils.set_random_seed(0)
    old = MODELS[name]()
    if name != "normalization":
        with_random_weights(old)
    paths = [tmp_path / "old.h5", tmp_path / "old.keras"]
    for path in paths:
        old.save(path)
    models = [load_h5(path) for path in paths]
    arrays = inputs_of(models[0], rng)
    expected = run(old, arrays)
    for new in models:
        assert np.abs(run(new, arrays) - expected).max() < 1e-6
        for weight in new.trainable_weights[-2:]:  # a wrong weight is seen
            weight.assign(weight * 1.5 + 0.1)
        if new.trainable_weights:
            if name == "stateful":
                new.layers[-1].reset_states()
            assert np.abs(run(new, arrays) - expected).max() > 1e-4


def test_it_is_saved_and_loaded_by_keras_3(tmp_path, rng):
    old = with_random_weights(MODELS["GRUs of both kinds with hard sigmoids"]())
    old.save(tmp_path / "old.h5")
    new = load_h5(tmp_path / "old.h5")
    new.save(tmp_path / "new.keras")
    again = keras.saving.load_model(tmp_path / "new.keras")
    arrays = inputs_of(new, rng)
    np.testing.assert_array_equal(run(again, arrays), run(new, arrays))


@pytest.mark.parametrize("both_ways", [False, True])
def test_cudnn_layers_compute_what_keras_2_makes_of_their_weights(both_ways, tmp_path, rng):
    """Keras 2 loads the weights of CuDNN layers into its own LSTM and GRU: the reference."""
    from tf_keras.src.layers.rnn.cudnn_gru import CuDNNGRU
    from tf_keras.src.layers.rnn.cudnn_lstm import CuDNNLSTM

    def build(lstm, gru):
        L = tf_keras.layers
        first, x = lstm(4, return_sequences=True), L.Input((T, F))
        y = (L.Bidirectional(first) if both_ways else first)(x)
        return tf_keras.Model(x, gru(3)(y))

    path = tmp_path / "cudnn.h5"
    with_random_weights(build(CuDNNLSTM, CuDNNGRU)).save(path)
    reference = build(tf_keras.layers.LSTM, tf_keras.layers.GRU)
    reference.load_weights(path)
    new = load_h5(path)
    x = rng.normal(size=(3, T, F)).astype(np.float32)
    assert np.abs(run(new, x) - run(reference, x)).max() < 1e-6
    assert isinstance(new.layers[-1], keras.layers.GRU)
    assert new.layers[-1].reset_after
