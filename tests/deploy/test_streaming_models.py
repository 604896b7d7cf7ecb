"""Whole models, streamed block by block, against Keras's own answer to every prefix."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from kgated_edge import EdgeModel
from streams import prefixes, randomize, stream

import kgated
from kgated.deploy.streaming import step_model

layers = keras.layers
FEATURES, BLOCKS = 5, 6


def sequential(*stack, shape=(None, FEATURES)):
    return keras.Sequential([keras.Input(shape), *stack])


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
    joined = layers.Multiply()([sound_features, motion_features])
    return keras.Model([sound, motion], kgated.LSTM(4, return_sequences=True)(joined))


def two_outputs():
    x = keras.Input((None, FEATURES))
    each = kgated.PeepholeLSTM(4, return_sequences=True)(x)
    pools = [layers.GlobalAveragePooling1D()(each), layers.GlobalMaxPooling1D()(each)]
    whole = layers.Reshape((2, 4))(layers.Concatenate(axis=1)(pools))
    return keras.Model(x, [layers.Dense(3)(each), layers.Dense(2)(layers.Flatten()(whole))])


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


def assert_equal(streamed, reference):
    for mine, theirs in zip(streamed, reference, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))


@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_every_step_equals_keras(build, rng):
    size = MODELS[build]
    model = randomize(build(), rng)
    assert step_model(model).frames_per_step == size
    frames = frames_for(model, size, rng)
    assert_equal(stream(model, frames), prefixes(model, frames, size))


@pytest.mark.parametrize(
    ("build", "state"),
    [
        (convolutions, "conv1d"),
        (depthwise, "separable_conv1d"),
        (two_outputs, "_mean"),
        (two_outputs, "_started"),
        (stacked_cells, "simple_rnn"),
    ],
)
def test_the_comparison_sees_a_state_that_is_not_carried(build, state, rng):
    model = randomize(build(), rng)
    frames = frames_for(model, MODELS[build], rng)
    forget = [name for name in step_model(model).states if state in name]
    assert forget
    reference = prefixes(model, frames, MODELS[build])
    with pytest.raises(AssertionError, match="Not equal"):
        assert_equal(stream(model, frames, forget), reference)


def test_models_of_a_fixed_length_inside_a_model(rng):
    model = randomize(nested(8), rng)
    frames = rng.normal(size=(8, FEATURES)).astype(np.float32)
    last = [output[-1:] for output in stream(model, frames)]
    assert_equal(last, [model.predict(frames[None], verbose=0)])


MASKED = {
    "average": lambda: [layers.GlobalAveragePooling1D()],
    "average, axis kept": lambda: [layers.GlobalAveragePooling1D(keepdims=True), layers.Flatten()],
    "max": lambda: [layers.GlobalMaxPooling1D()],
    "cells": lambda: [
        layers.RNN([layers.GRUCell(4), layers.GRUCell(3)], return_sequences=True),
        layers.LSTM(3),
    ],
    "cells, zeros for masked": lambda: [
        layers.RNN([layers.GRUCell(4), layers.GRUCell(3)], zero_output_for_mask=True)
    ],
    "merged": lambda: [kgated.LSTM(4, return_sequences=True), Residual(), kgated.GRU(3)],
}


class Residual:
    """Stands for `x -> Concatenate([x, Dense(x)])` in a stack."""

    def __call__(self, x):
        return layers.Concatenate()([x, layers.Dense(3)(x)])


@pytest.mark.filterwarnings("ignore:.*destroy the mask information:UserWarning")
@pytest.mark.parametrize("case", MASKED)
@pytest.mark.parametrize("masked", [[2, 3], [4, 5]])
def test_masks_count_as_in_keras(case, masked, rng):
    x = y = keras.Input((None, FEATURES))
    for layer in [layers.Masking(), *MASKED[case]()]:
        y = layer(y)
    model = randomize(keras.Model(x, y), rng)
    frames = rng.normal(size=(BLOCKS, FEATURES)).astype(np.float32)
    frames[masked] = 0.0
    assert_equal(stream(model, frames), prefixes(model, frames))


@pytest.mark.filterwarnings("ignore:.*destroy the mask information:UserWarning")
def test_masks_end_at_a_convolution_as_in_keras(rng):
    stack = [layers.Masking(), layers.Conv1D(4, 3, padding="causal"), layers.MaxPooling1D(2)]
    model = randomize(sequential(*stack, kgated.GRU(3)), rng)
    frames = rng.normal(size=(2 * BLOCKS, FEATURES)).astype(np.float32)
    frames[3:7] = 0.0
    assert_equal(stream(model, frames), prefixes(model, frames, 2))


def test_an_average_of_no_frames_is_zero(rng):
    model = sequential(layers.Masking(), layers.GlobalAveragePooling1D())
    frames = rng.normal(size=(BLOCKS, FEATURES)).astype(np.float32)
    frames[:2] = 0.0
    (streamed,) = stream(model, frames)
    assert not streamed[:2].any()
    assert_equal([streamed[2:]], [prefixes(model, frames)[0][2:]])


@pytest.mark.filterwarnings("ignore:.*destroy the mask information:UserWarning")
def test_blocks_of_masked_tokens(rng):
    stack = [layers.Embedding(7, 4, mask_zero=True), kgated.LSTM(4, return_sequences=True)]
    model = keras.Sequential([keras.Input((None,)), *stack, layers.MaxPooling1D(3), kgated.GRU(2)])
    randomize(model, rng)
    tokens = np.array([3, 0, 6, 1, 0, 0, 2, 2, 5, 0, 0, 4], np.int32)
    assert step_model(model).vocabulary == {"frame": 7}
    assert_equal(stream(model, tokens), prefixes(model, tokens, 3))


def test_mixed_precision_inside_streams_in_float32(rng):
    policy = "mixed_bfloat16"
    inside = layers.TimeDistributed(layers.Dense(4, dtype=policy), dtype=policy)
    convolution = layers.Conv1D(4, 3, padding="causal", dtype=policy)
    model = randomize(sequential(inside, convolution), rng)
    plain = sequential(
        layers.TimeDistributed(layers.Dense(4)), layers.Conv1D(4, 3, padding="causal")
    )
    plain.set_weights(model.get_weights())
    frames = rng.normal(size=(BLOCKS, FEATURES)).astype(np.float32)
    assert_equal(stream(model, frames), prefixes(plain, frames))


def run_file(path, frames):
    edge = EdgeModel(path)
    first = edge.run(frames)
    edge.reset()
    second = edge.run(frames)
    for one, two in zip(keras.tree.flatten(first), keras.tree.flatten(second), strict=True):
        np.testing.assert_array_equal(one, two)
    return keras.tree.flatten(first)


@pytest.mark.parametrize("build", [crnn, two_outputs, two_inputs, depthwise, pictures])
def test_files_equal_keras_with_state_outside_and_inside(build, rng, tmp_path):
    size = MODELS[build]
    model = randomize(build(), rng)
    frames = frames_for(model, size, rng)
    outside = kgated.to_tflite(model, tmp_path / "outside.tflite")
    inside = kgated.to_tflite(model, tmp_path / "inside.tflite", state="internal")
    found = run_file(outside.path, frames)
    assert_equal(found, prefixes(model, frames, size))
    for one, other in zip(found, run_file(inside.path, frames), strict=True):
        np.testing.assert_array_equal(one, other)
    assert outside.manifest.frames_per_step == inside.manifest.frames_per_step == size
    assert outside.manifest.states
    assert not inside.manifest.states


def test_a_model_without_states_keeps_none_inside(rng, tmp_path):
    model = sequential(layers.Dense(2))
    made = kgated.to_tflite(model, tmp_path / "m.tflite", state="internal", quantize="dynamic")
    frames = rng.normal(size=(3, FEATURES)).astype(np.float32)
    np.testing.assert_allclose(run_file(made.path, frames)[0], model(frames[None])[0], atol=0.05)


def test_calibration_by_input_and_blocks(rng, tmp_path):
    model = randomize(two_inputs(), rng)
    x = {"sound": rng.normal(size=(3, 7, 3)), "motion_1": rng.normal(size=(3, 7, 2))}
    x = {name: array.astype(np.float32) for name, array in x.items()}
    path = tmp_path / "data.npz"
    np.savez(path, **x, lengths=[7, 4, 5])
    made = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=path)
    assert made.agreement.results == 3 + 2 + 2
    for name, array in made.manifest.golden.frames.items():
        np.testing.assert_array_equal(array, x[name][0, :6])
    twice = kgated.to_tflite(model, tmp_path / "m.tflite", calibration=x)
    assert twice.agreement.results == 9
    with pytest.raises(ValueError, match=r"for each of the inputs \['sound', 'motion_1'\]"):
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=x["sound"])
    np.savez(path, **x, lengths=[7, 4, 1])
    with pytest.raises(ValueError, match=r"sequences of 2 frames or more.*Received one of 1"):
        kgated.to_tflite(model, tmp_path / "m.tflite", calibration=path)


def test_names_come_from_dictionaries(rng):
    inputs = {name: keras.Input((None, n), name=name) for name, n in (("b in", 2), ("a", 3))}
    hidden = kgated.GRU(4, return_sequences=True)(layers.Concatenate()(list(inputs.values())))
    outputs = {"same": layers.Dense(2)(hidden), "a": layers.Dense(3)(hidden)}
    step = step_model(keras.Model(inputs, outputs))
    assert step.frames == ("a", "b_in")
    assert step.outputs == ("a_2", "same")
    assert [step.model.input[name].shape for name in step.frames] == [(1, 3), (1, 2)]
    assert [step.model.output[name].shape for name in step.outputs] == [(1, 3), (1, 2)]


def test_a_step_over_one_frame_copies_nothing(tmp_path):
    stack = [kgated.LSTM(4, return_sequences=True), kgated.GRU(3), layers.Dense(2)]
    kgated.to_tflite(sequential(*stack), tmp_path / "m.tflite")
    found = {op["op_name"] for op in Interpreter(str(tmp_path / "m.tflite"))._get_ops_details()}
    assert "FULLY_CONNECTED" in found
    assert not found & {"RESHAPE", "STRIDED_SLICE", "PACK", "UNPACK", "TRANSPOSE"}
