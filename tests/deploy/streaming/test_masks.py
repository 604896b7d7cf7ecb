"""Masked frames in a stream count as in Keras, and end where its masks end."""

import keras
import numpy as np
import pytest
from stream_models import BLOCKS, FEATURES, sequential
from streams import assert_equal, prefixes, randomize, stream

import kgated
from kgated.deploy.streaming import step_model

layers = keras.layers

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
    "nested": lambda: [sequential(kgated.LSTM(4, return_sequences=True)), kgated.GRU(3)],
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
def test_a_convolution_removes_the_mask_as_in_keras(rng):
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
