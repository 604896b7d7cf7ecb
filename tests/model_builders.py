"""Small Keras models that several tests start from, and their weights off their initial values."""

import keras
import numpy as np

import kgated

FEATURES = 5
SEQUENCES = {"return_sequences": True}


def sequential(*layers, shape=(None, FEATURES), batch=None, dtype=None, **more):
    """Layers after one another; `shape` is that of one sequence."""
    return keras.Sequential([keras.Input(shape, batch, dtype=dtype), *layers], **more)


def classifier(layer, *before, units=16, features=FEATURES):
    """Layers, then a recurrent one of the class `layer` named `cell`, then softmax of 3 classes."""
    last = keras.layers.Dense(3, activation="softmax", name="output")
    return sequential(*before, layer(units, name="cell"), last, shape=(None, features))


def spread(model, rng):
    """Every weight moved by noise, so that none is a zero or a one that could be forgotten."""
    model.set_weights([w + rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


def mixture():
    """A functional model: our layers and Keras's, a mask, both directions, a layer called twice."""
    tokens = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 3, mask_zero=True)(tokens)
    x = keras.layers.Bidirectional(kgated.LSTM(4, name="lstm", **SEQUENCES))(x)
    shared = kgated.GRU(8, name="shared", **SEQUENCES)
    x = shared(shared(x))
    x = keras.layers.RNN(kgated.PeepholeLSTMCell(4), name="rnn", **SEQUENCES)(x)
    return keras.Model(tokens, keras.layers.Dense(2)(keras.layers.GRU(5, name="last")(x)))


def compiled(*layers, optimizer=None, features=8):
    """A regression model over sequences of 3 frames, ready for `fit_noise`."""
    model = sequential(*layers, keras.layers.Dense(4), shape=(3, features))
    # XLA takes seconds to compile, and JAX without it more.
    jit_compile = keras.backend.backend() == "jax"
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse", jit_compile=jit_compile)
    return model


def fit_noise(model, rng, *callbacks, epochs=2, **options):
    """Fit a compiled model to noise, in 3 batches of 4 sequences."""
    x = rng.normal(size=(12, *model.input_shape[1:])).astype(np.float32)
    y = rng.normal(size=(12, *model.output_shape[1:])).astype(np.float32)
    return model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks, **options)
