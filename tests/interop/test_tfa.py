"""Weights of `tfa.rnn.PeepholeLSTMCell` to ours and back.

TensorFlow Addons does not install beside a current TensorFlow, so the cell's published behaviour
stands here in NumPy: input and forget gate look at the old cell state, the output gate at the new
one, each through one weight per unit; columns in the order input, forget, cell, output.
"""

import re

import keras
import numpy as np
import pytest
from registry import ROWS, Row, inputs, values, weights_of

import kgated
from kgated.interop import from_tfa, to_tfa

F, U = 3, 4
SHAPES = {
    "kernel": (F, 4 * U),
    "recurrent_kernel": (U, 4 * U),
    "bias": (4 * U,),
    "input_gate_peephole_weights": (U,),
    "forget_gate_peephole_weights": (U,),
    "output_gate_peephole_weights": (U,),
}


@pytest.fixture
def tfa_weights(rng):
    return {k: rng.normal(0.0, 0.5, shape).astype(np.float32) for k, shape in SHAPES.items()}


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def published(x, w):
    """Outputs (B, T, U) of the cell over x (B, T, F)."""
    h = c = np.zeros((len(x), U))
    outputs = []
    for t in range(x.shape[1]):
        a = np.split(x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"], 4, axis=1)
        write = sigmoid(a[0] + w["input_gate_peephole_weights"] * c)
        keep = sigmoid(a[1] + w["forget_gate_peephole_weights"] * c)
        c = keep * c + write * np.tanh(a[2])
        h = sigmoid(a[3] + w["output_gate_peephole_weights"] * c) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def test_our_layer_computes_what_the_cell_computes(tfa_weights, rng):
    x = inputs(rng, time=7)
    layer = from_tfa(tfa_weights, return_sequences=True)
    assert np.abs(values(layer(x)) - published(x, tfa_weights)).max() < 1e-6
    swapped = dict(
        tfa_weights,
        input_gate_peephole_weights=tfa_weights["forget_gate_peephole_weights"],
        forget_gate_peephole_weights=tfa_weights["input_gate_peephole_weights"],
    )
    assert np.abs(values(layer(x)) - published(x, swapped)).max() > 1e-3


@pytest.mark.parametrize("bias", [True, False])
def test_round_trips_keep_the_bits_and_the_order(bias, tfa_weights):
    if not bias:
        del tfa_weights["bias"]
    for arguments in (
        tfa_weights,
        list(tfa_weights.values()),
        {f"rnn/cell/{k}:0": v for k, v in tfa_weights.items()},
    ):
        back = to_tfa(from_tfa(arguments))
        assert list(back) == list(tfa_weights)
        for name, value in tfa_weights.items():
            np.testing.assert_array_equal(back[name], value)


def test_an_lstm_and_a_coupled_one_become_the_cell(rng):
    x = inputs(rng)
    for row in (Row(kgated.LSTM), Row(kgated.PeepholeLSTM, {"coupled_gates": True})):
        layer = row.build(rng)
        outputs, _ = row.oracle(x, weights_of(layer))
        assert np.abs(published(x, to_tfa(layer)) - outputs).max() < 1e-6


def refusal(row):
    if row.layer is kgated.GRU:
        return "LSTM"
    for option in ("projection_units", "layer_norm", "output_peephole", "peephole"):
        if row.options.get(option):
            return "peephole" if "peephole" in option else option
    return None


@pytest.mark.parametrize("row", [row for row in ROWS if refusal(row)], ids=str)
def test_what_the_cell_does_not_have_is_refused_by_name(row, rng):
    with pytest.raises((TypeError, ValueError), match=refusal(row)):
        to_tfa(row.build(rng))


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_is_named(name, tfa_weights):
    wrong = tuple(size + 1 for size in SHAPES[name])
    tfa_weights[name] = np.zeros(wrong, np.float32)
    with pytest.raises(ValueError, match=rf"`{name}` must .*Received: {re.escape(str(wrong))}"):
        from_tfa(tfa_weights)


def test_wrong_names_and_counts_are_refused(tfa_weights):
    with pytest.raises(ValueError, match="7"):
        from_tfa([*tfa_weights.values(), np.zeros(3)])
    with pytest.raises(ValueError, match="'moment'"):
        from_tfa({**tfa_weights, "moment": np.zeros(3)})
    with pytest.raises(ValueError, match="one cell"):
        from_tfa({f"{n}/{k}": v for n in "ab" for k, v in tfa_weights.items()})
    del tfa_weights["kernel"]
    with pytest.raises(ValueError, match="no `kernel`"):
        from_tfa(tfa_weights)


def test_other_layers_are_refused():
    with pytest.raises(TypeError, match="Dense"):
        to_tfa(keras.layers.Dense(4))
