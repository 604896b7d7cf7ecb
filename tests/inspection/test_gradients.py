"""Gradient flow, against finite differences of the float64 oracle."""

import keras
import numpy as np
import pytest
import reference
from model_builders import mixture
from registry import Row, inputs, values, weights_of

import kgated
from kgated import inspection


def moved_loss(row, w, x, y, push):
    """Loss of `dense(h at the last step)` against y, with `push` added to the states over time.

    What is added to c' at a step counts for the h' of that step too.
    """
    state = [np.zeros_like(item[:, 0]) for item in push.values()]
    for t in range(x.shape[1]):
        old = state
        _, state = row.oracle(x[:, t : t + 1], w, state=old)
        if "c" in push:
            state = [output(row, x[:, t], old, state[1], push["c"][:, t], w), state[1]]
        state = [now + item[:, t] for now, item in zip(state, push.values(), strict=True)]
    return np.mean(np.square(state[0] @ w["dense"] - y))


def output(row, x, old, c, push, w):
    """h' of an LSTM's step from the states before it, the new c' and what is added to c'."""
    order = "fgo" if row.options.get("coupled_gates") else "ifgo"
    cell_state = old[1] if row.options.get("output_peephole") == "previous" else c + push
    a = [reference.lstm_gate("o", *of, w, order) for of in zip(x, old[0], cell_state, strict=True)]
    h = reference.sigmoid(np.array(a)) * np.tanh(c + push)
    return h @ w["projection_kernel"] if "projection_kernel" in w else h


FLOWS = [
    Row(kgated.LSTM),
    Row(kgated.LSTM, {"projection_units": 3, "coupled_gates": True}),
    Row(kgated.PeepholeLSTM),
    Row(kgated.PeepholeLSTM, {"peephole": "full", "output_peephole": "previous"}),
    Row(kgated.PeepholeLSTM, {"layer_norm": True}),
    Row(kgated.GRU),
    Row(kgated.GRU, {"reset_after": True, "update_gate": "state"}),
]


@pytest.mark.parametrize("row", FLOWS, ids=str)
def test_gradient_flow_is_that_of_finite_differences(row, rng):
    layer, head = row.build(rng), keras.layers.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((4, 3)), layer, head])
    x, y = inputs(rng), rng.normal(size=(2, 2)).astype(np.float32)
    flow = inspection.gradient_flow(model, x, y, "mse")[layer.name]
    assert list(flow) == (["h"] if row.layer is kgated.GRU else ["h", "c"])
    w = {**reference.exact(weights_of(layer)), "dense": values(head.kernel).astype(np.float64)}
    sizes = dict(zip(flow, np.atleast_1d(layer.cell.state_size), strict=True))
    push = {name: np.zeros((2, 4, size)) for name, size in sizes.items()}
    expected = reference.gradient(lambda moved: moved_loss(row, w, x, y, moved), push, list(push))
    for name, gradient in expected.items():
        norms = np.sqrt(np.square(gradient).sum(axis=(0, 2)))
        assert norms.min() > 1e-4
        np.testing.assert_allclose(flow[name], norms, rtol=1e-3)


def test_the_gradient_of_a_simple_rnn_falls_by_its_weight(rng):
    model = keras.Sequential(
        [keras.Input((5, 1)), keras.layers.SimpleRNN(1, activation="linear", name="rnn")]
    )
    model.layers[0].set_weights([np.ones((1, 1)), np.array([[0.5]]), np.zeros(1)])
    x, y = np.zeros((1, 5, 1), np.float32), np.ones((1, 1), np.float32)
    flow = inspection.gradient_flow(model, x, y, "mse")["rnn"]["h"]
    np.testing.assert_allclose(flow, 2.0 * 0.5 ** np.arange(5)[::-1], rtol=1e-6)


def test_masked_steps_pass_the_gradient_on(rng):
    model = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.Masking(), kgated.LSTM(4, name="rnn")]
    )
    x, y = inputs(rng, time=5), rng.normal(size=(2, 4)).astype(np.float32)
    x[:, 3:] = 0.0
    flow = inspection.gradient_flow(model, x, y, "mse")["rnn"]
    short = keras.Sequential([keras.Input((3, 3)), model.layers[-1]])
    shorter = inspection.gradient_flow(short, x[:, :3], y, "mse")["rnn"]
    np.testing.assert_allclose(flow["h"][:3], shorter["h"], rtol=1e-5)
    assert not flow["h"][3:].any()


def test_the_compiled_loss_is_used_and_one_is_needed(rng):
    model = mixture()
    tokens, y = rng.integers(1, 9, (2, 6)).astype(np.int32), np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="`loss` must be given"):
        inspection.gradient_flow(model, tokens, y)
    arguments = inspection.gradient_flow(model, tokens, y, "mae")
    model.compile(loss="mae")
    for name, flow in inspection.gradient_flow(model, tokens, y).items():
        for state, norms in flow.items():
            assert norms.any()
            np.testing.assert_allclose(norms, arguments[name][state], rtol=1e-5)


def test_a_backend_without_gradients_is_refused(monkeypatch, rng):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match="Received: 'numpy'"):
        inspection.gradient_flow(kgated.GRU(4), inputs(rng), None)
