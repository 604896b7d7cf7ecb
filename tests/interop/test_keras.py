"""Keras's own layers to ours and back."""

import keras
import numpy as np
import pytest
from registry import ROWS, Row, inputs, values, weights_of

import kgated
from kgated.interop import from_keras, to_keras

SEQUENCES = {"return_sequences": True}


def refusal(row):
    """The word that the error must hold, or None where the row has an exact twin in Keras."""
    for option in ("projection_units", "layer_norm"):
        if row.options.get(option):
            return option
    return "peephole_kernel" if row.layer is kgated.PeepholeLSTM else None


def close(a, b, tolerance=1e-6):
    return np.abs(values(a) - values(b)).max() < tolerance


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_row_becomes_keras_or_is_refused_by_name(row, rng):
    layer = row.build(rng, **SEQUENCES)
    if not row.recurrent:
        with pytest.raises(TypeError, match=f"Received: <{row.layer.__name__}"):
            to_keras(layer)
        return
    x = inputs(rng)
    if word := refusal(row):
        with pytest.raises(ValueError, match=word):
            to_keras(layer)
        return
    reference = to_keras(layer)
    assert type(reference).__module__.startswith("keras.")
    outputs, _ = row.oracle(x, weights_of(layer))
    assert close(reference(x), outputs)
    assert not close(reference(x), reference(-x))


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("update_gate", ["state", "candidate"])
def test_gru_makes_the_round_trip_bit_by_bit_in_both_conventions(reset_after, update_gate, rng):
    row = Row(kgated.GRU, {"reset_after": reset_after, "update_gate": update_gate})
    layer = row.build(rng)
    back = from_keras(to_keras(layer), update_gate)
    assert back.get_config() == layer.get_config()
    for name, value in weights_of(layer).items():
        np.testing.assert_array_equal(weights_of(back)[name], value)


@pytest.mark.parametrize("convention", ["state", "candidate"])
@pytest.mark.parametrize("stock", [keras.layers.LSTM, keras.layers.GRU])
def test_keras_makes_the_round_trip_bit_by_bit(stock, convention, rng):
    layer = stock(4, return_sequences=True, go_backwards=True, name="stock")
    layer.build((None, None, 3))
    layer.set_weights([w + rng.normal(0.0, 0.4, w.shape) for w in layer.get_weights()])
    gated = from_keras(layer, convention)
    x = inputs(rng)
    assert isinstance(gated, kgated.LSTM | kgated.GRU)
    assert close(gated(x), layer(x))
    back = to_keras(gated)
    assert back.get_config() == layer.get_config()
    for a, b in zip(layer.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_zero_peepholes_vanish(rng):
    layer = kgated.PeepholeLSTM(4, return_sequences=True)
    x = inputs(rng)
    assert close(layer(x), to_keras(layer)(x))


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
def test_bidirectional_goes_both_ways(merge_mode, rng):
    both = keras.layers.Bidirectional(
        kgated.GRU(4, return_sequences=True), merge_mode=merge_mode, name="both"
    )
    x = inputs(rng)
    gated = values(both(x))
    reference = to_keras(both)
    back = from_keras(reference, "candidate")
    assert isinstance(reference.backward_layer, keras.layers.GRU)
    assert isinstance(back.backward_layer, kgated.GRU)
    for a, b, c in zip(
        *map(np.atleast_1d, (gated, values(reference(x)), values(back(x)))), strict=True
    ):
        assert close(a, b)
        np.testing.assert_array_equal(a, c)


def test_an_unbuilt_layer_of_keras_stays_unbuilt():
    gated = from_keras(keras.layers.GRU(4, dropout=0.25), "candidate")
    assert not gated.built
    assert (gated.units, gated.dropout, gated.update_gate) == (4, 0.25, "candidate")


def test_other_layers_are_refused(rng):
    with pytest.raises(TypeError, match="SimpleRNN"):
        to_keras(keras.layers.SimpleRNN(4))
    with pytest.raises(TypeError, match="Dense"):
        from_keras(keras.layers.Dense(4))
    with pytest.raises(ValueError, match="no weights yet"):
        to_keras(kgated.LSTM(4))


@pytest.mark.parametrize(
    "layer",
    [
        kgated.GRU(4, recurrent_activation="tanh"),
        kgated.LSTM(4, coupled_gates=True, recurrent_activation="tanh"),
    ],
    ids=["GRU", "LSTM"],
)
def test_activations_that_make_the_exchange_inexact_are_refused(layer):
    layer.build((None, None, 3))
    with pytest.raises(ValueError, match="recurrent_activation='tanh'"):
        to_keras(layer)
