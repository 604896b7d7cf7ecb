"""Whole models, streamed block by block, against Keras's own answer to every prefix."""

import keras
import numpy as np
import pytest
from stream_models import (
    BLOCKS,
    FEATURES,
    MODELS,
    convolutions,
    depthwise,
    frames_for,
    nested,
    sequential,
    stacked_cells,
    two_outputs,
)
from streams import assert_equal, prefixes, randomize, stream

import kgated
from kgated.deploy.streaming import step_model

layers = keras.layers


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


def test_names_come_from_dictionaries(rng):
    inputs = {name: keras.Input((None, n), name=name) for name, n in (("b in", 2), ("a", 3))}
    hidden = kgated.GRU(4, return_sequences=True)(layers.Concatenate()(list(inputs.values())))
    outputs = {"same": layers.Dense(2)(hidden), "a": layers.Dense(3)(hidden)}
    step = step_model(keras.Model(inputs, outputs))
    assert step.frames == ("a", "b_in")
    assert step.outputs == ("a_2", "same")
    assert [step.model.input[name].shape for name in step.frames] == [(1, 3), (1, 2)]
    assert [step.model.output[name].shape for name in step.outputs] == [(1, 3), (1, 2)]
