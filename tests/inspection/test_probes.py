"""Gates and states over time, gradient flow, and their plots."""

import json
import os
import subprocess
import sys
from pathlib import Path

import inspection_results
import keras
import numpy as np
import pytest
import reference
from model_builders import SEQUENCES, mixture
from registry import ROWS, inputs, randomized, values, weights_of

import kgated
from kgated import inspection

TESTS = Path(__file__).parents[1]
SIGMA = {"recurrent_activation": "sigmoid", "activation": "tanh"}
LSTMS = (kgated.LSTM, kgated.PeepholeLSTM)


def before(sequence):
    """The state before each step, (N, T, U), from the states after."""
    return np.concatenate([np.zeros_like(sequence[:, :1]), sequence[:, :-1]], axis=1)


def steps(x):
    return np.ndindex(*x.shape[:2])


def close(a, b, tolerance=2e-6):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and np.abs(a - b).max() < tolerance


def lstm_gates(row, x, w, h, c):
    """The gates that the oracle computes from the states before and after each step."""
    options = {**SIGMA, **row.options}
    sigma, tanh = (reference.ACTIVATIONS[options[k]] for k in SIGMA)
    coupled = options.get("coupled_gates", False)
    order = "fgo" if coupled else "ifgo"
    h_before, c_before = before(h), before(c)
    output_cell_state = c_before if options.get("output_peephole") == "previous" else c
    gates = {name: np.zeros(c.shape) for name in order}
    for at in steps(x):
        for name in order:
            cell_state = output_cell_state if name == "o" else c_before
            a = reference.lstm_gate(name, x[at], h_before[at], cell_state[at], w, order)
            gates[name][at] = tanh(a) if name == "g" else sigma(a)
    return {"i": 1.0 - gates["f"], **gates} if coupled else gates


@pytest.mark.parametrize("row", [row for row in ROWS if row.layer in LSTMS], ids=str)
def test_an_lstms_gates_and_states_are_those_of_the_oracle(row, rng):
    layer = row.build(rng, **SEQUENCES)
    x, w = inputs(rng), reference.exact(weights_of(layer))
    trace = inspection.gate_activations(layer, x)[layer.name]
    assert list(trace) == ["i", "f", "g", "o", "h", "c"]
    outputs, (_, c_last) = row.oracle(x, w)
    assert close(trace["h"], outputs)
    assert close(trace["c"][:, -1], c_last)
    for name, expected in lstm_gates(row, x, w, trace["h"], trace["c"]).items():
        assert close(trace[name], expected), name
    assert close(trace["c"], trace["f"] * before(trace["c"]) + trace["i"] * trace["g"])
    assert not close(trace["f"], trace["o"], 1e-2)


@pytest.mark.parametrize("row", [row for row in ROWS if row.layer is kgated.GRU], ids=str)
def test_a_grus_gates_and_states_are_those_of_the_oracle(row, rng):
    layer = row.build(rng, **SEQUENCES)
    x, w = inputs(rng), reference.exact(weights_of(layer))
    trace = inspection.gate_activations(layer, x)[layer.name]
    assert list(trace) == ["z", "r", "g", "h"]
    assert close(trace["h"], row.oracle(x, w)[0])
    h = before(trace["h"])
    sigma = reference.ACTIVATIONS[{**SIGMA, **row.options}["recurrent_activation"]]
    bias = np.atleast_2d(w.get("bias", np.zeros(w["kernel"].shape[1]))).sum(axis=0)
    a = reference.by_gate(x @ w["kernel"] + h @ w["recurrent_kernel"] + bias, "zrh")
    assert close(trace["z"], sigma(a["z"]))
    assert close(trace["r"], sigma(a["r"]))
    weight = trace["z"] if layer.update_gate == "candidate" else 1.0 - trace["z"]
    assert close(trace["h"], (1.0 - weight) * h + weight * trace["g"])


@pytest.mark.parametrize("row", [row for row in ROWS if not row.recurrent], ids=str)
def test_the_steps_of_a_cell_without_recurrent_weights_are_traced(row, rng):
    layer, x = row.build(rng, **SEQUENCES), inputs(rng)
    trace = inspection.gate_activations(layer, x)[layer.name]
    names = ["z", "g", "h"] if row.layer is kgated.MinGRU else ["f", "i", "g", "h"]
    assert list(trace) == names
    assert close(trace["h"], row.oracle(x, weights_of(layer))[0])
    h = before(trace["h"])
    retained = 1.0 - trace["z"] if "z" in names else trace["f"]
    let_in = trace["z"] if "z" in names else trace["i"]
    assert close(trace["h"], retained * h + let_in * trace["g"])


@pytest.mark.parametrize("stock", ["LSTM", "GRU", "SimpleRNN"])
def test_keras_own_layers_are_traced_through_our_cells(stock, rng):
    layer = getattr(keras.layers, stock)(4, **SEQUENCES)
    x = inputs(rng)
    expected = values(layer(x))
    randomized(layer, rng)
    trace = inspection.gate_activations(layer, x)[layer.name]
    assert close(trace["h"], values(layer(x)))
    assert not close(trace["h"], expected, 1e-2)
    if stock != "SimpleRNN":
        gated = getattr(kgated, stock).from_keras(layer)
        for name, value in inspection.gate_activations(gated, x)[gated.name].items():
            np.testing.assert_array_equal(trace[name], value)


def test_every_layer_of_a_model_is_there_and_the_model_is_left_as_it_was(rng):
    model = mixture()
    tokens = np.array([[1, 2, 3, 4, 5, 6], [7, 8, 0, 0, 0, 0]], np.int32)
    expected, weights = values(model(tokens)), model.get_weights()
    traces = inspection.gate_activations(model, tokens)
    assert list(traces) == ["forward_lstm", "backward_lstm", "shared", "shared#2", "rnn", "last"]
    np.testing.assert_array_equal(values(model(tokens)), expected)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for name, trace in traces.items():
        for value in trace.values():
            assert np.isnan(value[1, 2:]).all(), name
            assert not np.isnan(value[0]).any(), name
            assert not np.isnan(value[1, :2]).any(), name
    # What the last layer leaves is what the head sees.
    head = model.layers[-1]
    last = np.stack([traces["last"]["h"][0, -1], traces["last"]["h"][1, 1]])
    assert close(values(head(last)), expected)


def test_time_is_that_of_the_input_in_a_backward_layer_too(rng):
    layer = kgated.GRU(4, go_backwards=True, **SEQUENCES)
    x = inputs(rng)
    trace = inspection.gate_activations(layer, x)[layer.name]
    assert close(trace["h"][:, ::-1], values(layer(x)))


def test_initial_and_carried_states_count(rng):
    layer = kgated.LSTM(4, stateful=True, **SEQUENCES)
    x = inputs(rng)
    first, second = values(layer(x)), values(layer(x))
    carried = [state.numpy() for state in layer.states]
    third = inspection.gate_activations(layer, x)[layer.name]["h"]
    for state, old in zip(layer.states, carried, strict=True):
        np.testing.assert_array_equal(state.numpy(), old)
    assert close(third, values(layer(x)))
    assert not close(first, second)
    assert not close(second, third, 1e-7)


def test_functions_that_keras_cannot_restore_do_not_hinder(rng):
    def half(a):
        return 0.5 * a

    def ones(shape, dtype=None):
        return keras.ops.ones(shape, dtype)

    layer = kgated.GRU(4, activation=half, kernel_initializer=ones, **SEQUENCES)
    x = inputs(rng)
    expected = values(layer(x))
    assert close(inspection.gate_activations(layer, x)[layer.name]["h"], expected)


def test_bfloat16_layers_are_traced(rng):
    layer = kgated.PeepholeLSTM(4, dtype="mixed_bfloat16", **SEQUENCES)
    x = inputs(rng)
    expected = values(layer(x)).astype(np.float32)
    trace = inspection.gate_activations(layer, x)[layer.name]
    actual = trace["h"].astype(np.float32)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4e-3)  # a step of bfloat16 below 1


@pytest.mark.parametrize("function", ["gate_activations", "gradient_flow"])
def test_models_that_cannot_be_inspected_are_refused(function, rng):
    run = getattr(inspection, function)
    more = [np.zeros((2, 1), np.float32), "mse"] if function == "gradient_flow" else []
    with pytest.raises(ValueError, match="must have a recurrent layer"):
        run(keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(1)]), inputs(rng), *more)
    stack = keras.layers.RNN([kgated.GRUCell(4), kgated.GRUCell(4)])
    with pytest.raises(TypeError, match="StackedRNNCells"):
        run(stack, inputs(rng), *more)
    assert "inner_loop" not in vars(stack)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_agree_with_this_one(backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed: this backend is not tested")
    code = "import json, keras, inspection_results as t; print(keras.backend.backend()); "
    run = subprocess.run(
        [sys.executable, "-c", code + "print(json.dumps(t.computed()))"],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    used, actual = run.stdout.splitlines()[-2:]
    assert used == backend
    actual, expected = json.loads(actual), inspection_results.computed()
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
