"""Whole models that stream, each with the frames that one step of it takes."""

import keras
import numpy as np
from model_builders import sequential

import kgated
from kgated.deploy.streaming import step_model

layers = keras.layers
FEATURES, BLOCKS = 5, 6


def convolutions():
    return sequential(
        layers.Conv1D(6, 3, strides=2, padding="causal", activation="relu"),
        layers.Conv1D(6, 2, dilation_rate=3, padding="causal", groups=2),
        layers.Conv1D(4, 4, strides=3, padding="causal", use_bias=False),
        layers.Conv1D(3, 1, padding="same"),
    )


def crnn():
    return sequential(
        layers.Conv1D(8, 5, strides=2, padding="causal", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling1D(2),
        kgated.GRU(6, return_sequences=True),
        kgated.GRU(5),
        layers.Dense(3, activation="softmax"),
    )


def residual():
    x = y = keras.Input((None, FEATURES))
    for dilation in (1, 2, 4):
        z = layers.Conv1D(FEATURES, 3, dilation_rate=dilation, padding="causal")(y)
        z = layers.LayerNormalization()(keras.ops.silu(z))
        y = layers.Add()([y, z])
    y = layers.Concatenate()([y, x * 0.5, keras.ops.tanh(x) + x])
    return keras.Model(x, layers.Dense(2)(y))


def two_inputs():
    sound, motion = keras.Input((None, 3), name="sound"), keras.Input((None, 2), name="motion 1")
    sound_features = layers.Conv1D(4, 3, strides=2, padding="causal")(sound)
    motion_features = layers.AveragePooling1D(2)(layers.Dense(4)(motion))
    features = layers.Multiply()([sound_features, motion_features])
    return keras.Model([sound, motion], kgated.LSTM(4, return_sequences=True)(features))


def two_outputs():
    x = keras.Input((None, FEATURES))
    each = kgated.PeepholeLSTM(4, return_sequences=True)(x)
    pools = [layers.GlobalAveragePooling1D()(each), layers.GlobalMaxPooling1D()(each)]
    pooled = layers.Reshape((2, 4))(layers.Concatenate(axis=1)(pools))
    return keras.Model(x, [layers.Dense(3)(each), layers.Dense(2)(layers.Flatten()(pooled))])


def nested(length=None):
    """Models inside a model, with layers of one name, one of them called twice."""

    def encoder(units):
        inner = keras.Input((length, units))
        hidden = kgated.LSTM(units, return_sequences=True, name="lstm")(inner)
        return keras.Model(inner, layers.Dense(units, name="dense")(hidden))

    x = keras.Input((length, FEATURES))
    first, second = encoder(FEATURES), keras.Sequential([encoder(FEATURES), layers.ReLU()])
    return keras.Model(x, kgated.GRU(3, name="lstm_h")(second(first(first(x)))))


def depthwise():
    return sequential(
        layers.ZeroPadding1D((4, 0)),
        layers.DepthwiseConv1D(3, dilation_rate=2, padding="valid", depth_multiplier=2),
        layers.ZeroPadding1D((2, 0)),
        layers.SeparableConv1D(4, 3, strides=2, padding="valid"),
        layers.ZeroPadding1D((1, 0)),
        layers.Conv1D(3, 2, padding="valid"),
        kgated.LSTM(3),
    )


def windows_side_by_side():
    return sequential(
        layers.Conv1D(4, 3, strides=3, activation="relu"),
        layers.DepthwiseConv1D(2, strides=2),
        kgated.GRU(3, return_sequences=True),
    )


def pictures():
    inside = [layers.Conv2D(3, 2, activation="relu"), layers.MaxPooling2D(2)]
    return sequential(
        *[layers.TimeDistributed(layer) for layer in [*inside, layers.Flatten()]],
        layers.AveragePooling1D(2),
        layers.TimeDistributed(sequential(layers.Dense(4), shape=(6,))),
        kgated.GRU(3),
        shape=(None, 5, 4, 1),
    )


def every_per_frame_layer():
    return sequential(
        layers.Rescaling(2.0, offset=0.5),
        layers.PReLU(shared_axes=[1]),
        layers.LeakyReLU(),
        layers.ELU(),
        layers.UnitNormalization(),
        layers.GaussianNoise(0.5),
        layers.SpatialDropout1D(0.5),
        layers.Softmax(),
        layers.Identity(),
    )


def stacked_cells():
    cells = [kgated.LSTMCell(4), layers.GRUCell(3), layers.SimpleRNNCell(6)]
    return sequential(layers.RNN(cells, return_sequences=True), layers.SimpleRNN(4))


def strides_after_recurrence():
    return sequential(
        layers.SimpleRNN(4, return_sequences=True),
        layers.Conv1D(4, 2, strides=2, padding="causal"),
        layers.GlobalMaxPooling1D(keepdims=True),
        layers.Reshape((4,)),
    )


MODELS = {
    convolutions: 6,
    crnn: 4,
    residual: 1,
    two_inputs: 2,
    two_outputs: 1,
    nested: 1,
    depthwise: 2,
    windows_side_by_side: 6,
    pictures: 2,
    every_per_frame_layer: 1,
    stacked_cells: 1,
    strides_after_recurrence: 2,
}


def frames_for(model, size, rng):
    shapes = {x.name: (BLOCKS * size, *x.shape[2:]) for x in model.inputs}
    frames = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    if len(frames) == 1:
        return next(iter(frames.values()))
    return dict(zip(step_model(model).frames, frames.values(), strict=True))
