"""Layers that stream where their options let each frame alone."""

import keras
import numpy as np
import pytest
import streams

from kgated.deploy.sequence.preprocessing import check_decibels
from kgated.deploy.streaming import step_model
from kgated.errors import ConversionError
from kgated.framewise import einsum_keeps_frames, index_keeps_frames

T, F = 6, 4
L = keras.layers
ALL = slice(None)


def einsum(equation, shape, bias_axes=None):
    layer = L.EinsumDense(equation, shape, bias_axes=bias_axes)
    layer.build((None, T, F))
    return layer


@pytest.mark.parametrize(
    ("layer", "keeps"),
    [
        (lambda: einsum("btf,fg->btg", (T, 3), "g"), True),
        (lambda: einsum("...f,fg->...g", 3), True),
        (lambda: einsum("...tf,fg->...tg", (T, 3)), False),  # `...` is the batch alone
        (lambda: einsum("btf,ts->bsf", (T, F)), False),
        (lambda: einsum("btf,tfg->btg", (T, 3)), False),  # a kernel for each frame
        (lambda: einsum("btf,fg->btg", (T, 3), "tg"), False),  # a bias for each frame
        (lambda: einsum("btf,fg->bgt", (3, T)), False),
    ],
)
def test_equations_over_time_are_known(layer, keeps):
    assert einsum_keeps_frames(layer(), 3) is keeps


@pytest.mark.parametrize(
    ("key", "keeps"),
    [
        ((ALL, ALL, 0), True),
        ((Ellipsis, slice(0, 2)), True),
        ((ALL, Ellipsis, 1), True),
        ((ALL, ALL, None), True),
        ((ALL, -1), False),
        ((ALL, slice(1, None), 0), False),
        ((None, ALL, ALL), False),
        ((Ellipsis, 0, ALL), False),
        (0, False),
        (ALL, False),
    ],
)
def test_indices_over_time_are_known(key, keeps):
    assert index_keeps_frames(key, 3) is keeps


MODELS = {
    "EinsumDense": lambda x: L.EinsumDense("...f,fg->...g", 3)(x),
    "index": lambda x: L.Dense(3)(x[:, :, 1:3]),
    "SpectralNormalization": lambda x: L.SpectralNormalization(L.Dense(3))(x),
    "SpectralNormalization of a convolution": lambda x: L.SpectralNormalization(
        L.Conv1D(3, 2, padding="causal")
    )(x),
    "Discretization": lambda x: L.Discretization([-0.5, 0.5], output_mode="one_hot")(x),
    "glu": lambda x: L.Dense(6, activation="glu")(x),
}


@pytest.mark.parametrize("name", MODELS)
def test_conditional_models_stream_as_in_keras(name, rng):
    x = keras.Input((None, F))
    model = streams.randomize(keras.Model(x, MODELS[name](x)), rng)
    frames = rng.normal(size=(T, F)).astype(np.float32)
    streams.assert_equal(streams.stream(model, frames), streams.prefixes(model, frames))


REFUSED = {
    "EinsumDense": (lambda x: L.EinsumDense("btf,ts->bsf", (T, F))(x), r"equation such as"),
    "counts over frames": (
        lambda x: L.Discretization([0.0], output_mode="multi_hot")(x[:, :, 0]),
        r"counts over the frames; build it with `output_mode=\"one_hot\"`",
    ),
    "Conv2D": (
        lambda x: L.Conv2D(2, 3, padding="same")(x[..., None]),
        r"windows reach over time: .*`mode=\"sequence\"`, or take each frame alone",
    ),
    "pooling": (lambda x: L.AdaptiveMaxPooling1D(2)(x), "depend on the length: .*sequence"),
    "volumes": (lambda x: L.GlobalMaxPooling2D()(x[..., None]), "reads all frames: .*sequence"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_reaches_over_time_is_refused_with_the_reason(name):
    build, message = REFUSED[name]
    x = keras.Input((T, F))
    with pytest.raises(ConversionError, match=message):
        step_model(keras.Model(x, build(x)))


@pytest.mark.parametrize("kind", [L.Hashing, L.HashedCrossing, L.IntegerLookup])
def test_preparation_of_data_is_refused_by_name(kind):
    x = keras.Input((None,), dtype="int32")
    layer = kind(name="guilty") if kind is L.IntegerLookup else kind(5, name="guilty")
    y = layer([x, x] if kind is L.HashedCrossing else x)
    model = keras.Model(x, L.Embedding(9, 4)(y))
    with pytest.raises(ConversionError, match=rf"`guilty` \({kind.__name__}\).*before the model"):
        step_model(model)


def test_decibels_are_refused_in_integers_where_small_powers_vanish():
    x = keras.Input((32, 1))
    spectrum = L.STFTSpectrogram("log", 8, 4, 8, name="guilty")
    model = keras.Model(x, spectrum(x))
    check_decibels(model, 16)
    check_decibels(model, 8, skip=["guilty"])
    with pytest.raises(ConversionError, match=r"`guilty` \(STFTSpectrogram\).*`skip=\['guilty'\]`"):
        check_decibels(model, 8)
