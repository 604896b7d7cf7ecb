"""What cells and layers refuse, and how they say it; what they keep of Keras's cells."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from registry import BATCH, FEATURES, ROWS, UNITS, inputs, randomized, values, weights_of

import kgated

LAYERS = (kgated.LSTM, kgated.PeepholeLSTM, kgated.GRU)
REFUSED = [
    (LAYERS, {"units": 0}, "`units` must be an integer of at least 1. Received: 0"),
    (LAYERS, {"units": -2}, "`units` must be an integer of at least 1. Received: -2"),
    (LAYERS, {"units": 2.5}, "`units` must be an integer of at least 1. Received: 2.5"),
    (LAYERS, {"units": True}, "`units` must be an integer of at least 1. Received: True"),
    (LAYERS, {"units": "8"}, "`units` must be an integer of at least 1. Received: '8'"),
    (LAYERS, {"dropout": 1.0}, "`dropout` must be a number from 0 to below 1. Received: 1.0"),
    (LAYERS, {"dropout": -0.5}, "`dropout` must be a number from 0 to below 1. Received: -0.5"),
    (LAYERS, {"dropout": "0.5"}, "`dropout` must be a number from 0 to below 1. Received: '0.5'"),
    (
        LAYERS,
        {"recurrent_dropout": float("nan")},
        "`recurrent_dropout` must be a number from 0 to below 1. Received: nan",
    ),
    (
        LAYERS[:2],
        {"projection_units": 0},
        "`projection_units` must be an integer of at least 1. Received: 0",
    ),
    (
        LAYERS[:2],
        {"coupled_gates": "yes"},
        "`coupled_gates` must be one of [True, False]. Received: 'yes'",
    ),
    (
        LAYERS[:2],
        {"layer_norm": None},
        "`layer_norm` must be one of [True, False]. Received: None",
    ),
    (
        LAYERS[1:2],
        {"peephole": "none"},
        "`peephole` must be one of ['diagonal', 'full']. Received: 'none'",
    ),
    (
        LAYERS[1:2],
        {"output_peephole": True},
        "`output_peephole` must be one of ['current', 'previous']. Received: True",
    ),
    (
        LAYERS[2:],
        {"update_gate": "keras"},
        "`update_gate` must be one of ['candidate', 'state']. Received: 'keras'",
    ),
    (
        LAYERS[2:],
        {"reset_after": "after"},
        "`reset_after` must be one of [True, False]. Received: 'after'",
    ),
]


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [(layer, options, message) for layers, options, message in REFUSED for layer in layers],
)
def test_wrong_option_is_refused_by_name(layer, options, message):
    options = {"units": UNITS, **options}
    for refusing in (layer, layer.cell_class):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            refusing(**options)


def test_units_may_be_a_numpy_integer():
    assert kgated.LSTM(np.int64(3)).get_config()["units"] == 3


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("argument", ["use_cudnn", "implementation", "unknown"])
def test_what_does_not_exist_here_is_refused(layer, argument):
    with pytest.raises(ValueError, match=argument):
        layer(UNITS, **{argument: False})


@pytest.mark.parametrize("layer", LAYERS)
def test_input_without_time_is_refused(layer):
    with pytest.raises(ValueError, match="expected ndim=3"):
        layer(UNITS)(np.zeros((BATCH, FEATURES), np.float32))


@pytest.mark.parametrize("layer", LAYERS)
def test_other_number_of_features_is_refused(layer):
    built = layer(UNITS)
    built.build((None, None, FEATURES))
    with pytest.raises(Exception, match=r"(?i)size|shape|dim|match"):
        built(np.zeros((BATCH, 2, FEATURES + 1), np.float32))


@pytest.mark.parametrize("layer", LAYERS)
def test_stateful_layer_refuses_another_batch(layer):
    stateful = layer(UNITS, stateful=True)
    stateful(np.zeros((BATCH, 2, FEATURES), np.float32))
    with pytest.raises(ValueError, match="batch size"):
        stateful(np.zeros((BATCH + 1, 2, FEATURES), np.float32))
    with pytest.raises(ValueError, match="batch size must be static"):
        layer(UNITS, stateful=True)(keras.Input((None, FEATURES)))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_positional_arguments_are_those_of_keras_cells(row, rng):
    of_gates = ["hard_sigmoid"] if row.recurrent else []  # the gates of minimal cells are sigmoids
    positional = row.layer.cell_class(UNITS, "relu", *of_gates, False)
    assert positional.activation is keras.activations.relu
    if row.recurrent:
        assert positional.recurrent_activation is keras.activations.hard_sigmoid
    assert not positional.use_bias


def test_gru_cell_takes_its_state_outside_a_list_as_keras_does(rng):
    cell = kgated.GRUCell(UNITS)
    cell.build((None, FEATURES))
    randomized(cell, rng)
    x = ops.convert_to_tensor(inputs(rng)[:, 0])
    h = ops.convert_to_tensor(rng.normal(size=(BATCH, UNITS)).astype(np.float32))
    listed, [state] = cell(x, [h])
    bare, bare_state = cell(x, h)
    np.testing.assert_array_equal(values(bare), values(listed))
    np.testing.assert_array_equal(values(bare_state), values(state))


def test_gru_mixes_what_recurrent_dropout_hides_from_its_gates(rng):
    """The state is carried on whole: only the gates and the candidate see it through the mask."""
    cell = kgated.GRUCell(UNITS, recurrent_dropout=0.5, seed=1)
    cell.build((None, FEATURES))
    weights = {n: np.zeros(w.shape, np.float32) for n, w in weights_of(cell).items()}
    weights["bias"][:UNITS] = -30.0  # z = 0: keep the state
    cell.set_weights([weights[w.name] for w in cell.weights])
    h = ops.convert_to_tensor(rng.normal(size=(BATCH, UNITS)).astype(np.float32))
    output, _ = cell(ops.zeros((BATCH, FEATURES)), [h], training=True)
    np.testing.assert_allclose(values(output), values(h), atol=1e-6)
