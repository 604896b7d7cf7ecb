"""The equations once more, in float64 NumPy, one row and one gate at a time, for the tests alone.

Imports nothing of kgated. Which variant is meant is read from the weights where they show it: a
`bias`, `peephole_kernel`, `projection_kernel` or `layer_norm_gain` that is there is used.
"""

from functools import partial

import numpy as np


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def relu(a):
    return np.maximum(a, 0.0)


def hard_sigmoid(a):
    return np.clip(a / 6.0 + 0.5, 0.0, 1.0)


ACTIVATIONS = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": relu,
    "hard_sigmoid": hard_sigmoid,
    "linear": lambda a: a,
}


def standardized(a):
    return (a - a.mean()) / np.sqrt(a.var() + 1e-8)


def by_gate(fused, gates):
    """The columns of a fused weight by the letter of their gate."""
    return dict(zip(gates, np.split(fused, len(gates), axis=-1), strict=True))


def lstm_gate(gate, x, h, cell_state, w, gates):
    """The pre-activation of one gate; its peephole reads `cell_state`."""
    a = x @ by_gate(w["kernel"], gates)[gate] + h @ by_gate(w["recurrent_kernel"], gates)[gate]
    if "peephole_kernel" in w and gate != "g":
        p = w["peephole_kernel"][gates.replace("g", "").index(gate)]
        a = a + (cell_state @ p if p.ndim == 2 else cell_state * p)
    if "layer_norm_gain" in w:
        a = standardized(a) * by_gate(w["layer_norm_gain"], gates)[gate]
    return a + by_gate(w["bias"], gates)[gate] if "bias" in w else a


def lstm_step(x, state, w, keep, coupled_gates, output_peephole, activation, recurrent_activation):
    h, c = state[0] * keep, state[1]
    tanh, sigma = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    gate = partial(lstm_gate, x=x, h=h, w=w, gates="fgo" if coupled_gates else "ifgo")
    f = sigma(gate("f", cell_state=c))
    i = 1.0 - f if coupled_gates else sigma(gate("i", cell_state=c))
    new_c = f * c + i * tanh(gate("g", cell_state=c))
    o = sigma(gate("o", cell_state=new_c if output_peephole == "current" else c))
    new_h = o * tanh(new_c)
    return (new_h @ w["projection_kernel"] if "projection_kernel" in w else new_h), new_c


def gru_step(x, state, w, keep, reset_after, update_gate, activation, recurrent_activation):
    (old,) = state
    h = old * keep
    tanh, sigma = ACTIVATIONS[activation], ACTIVATIONS[recurrent_activation]
    width = w["kernel"].shape[-1]
    bias = np.broadcast_to(w.get("bias", np.zeros(width)), (2 if reset_after else 1, width))
    W, R = by_gate(w["kernel"], "zrh"), by_gate(w["recurrent_kernel"], "zrh")
    b, b_state = by_gate(bias[0], "zrh"), by_gate(bias[-1] if reset_after else 0 * bias[0], "zrh")
    z = sigma(x @ W["z"] + h @ R["z"] + b["z"] + b_state["z"])
    r = sigma(x @ W["r"] + h @ R["r"] + b["r"] + b_state["r"])
    from_state = r * (h @ R["h"] + b_state["h"]) if reset_after else (r * h) @ R["h"]
    candidate = tanh(x @ W["h"] + b["h"] + from_state)
    update = z if update_gate == "candidate" else 1.0 - z
    return ((1.0 - update) * old + update * candidate,)


def min_gru_step(x, state, w, keep, activation):
    W = by_gate(w["kernel"], "zh")
    b = by_gate(w.get("bias", np.zeros(w["kernel"].shape[-1])), "zh")
    z = sigmoid(x @ W["z"] + b["z"])
    return ((1.0 - z) * state[0] + z * ACTIVATIONS[activation](x @ W["h"] + b["h"]),)


def min_lstm_step(x, state, w, keep, activation):
    W = by_gate(w["kernel"], "fih")
    b = by_gate(w.get("bias", np.zeros(w["kernel"].shape[-1])), "fih")
    f, i = sigmoid(x @ W["f"] + b["f"]), sigmoid(x @ W["i"] + b["i"])
    candidate = ACTIVATIONS[activation](x @ W["h"] + b["h"])
    return (f / (f + i) * state[0] + i / (f + i) * candidate,)


def scan(step, x, state, mask=None, zero_output_for_mask=False):
    """Run `step` over x (B, T, F), row by row: outputs (B, T, P) and the final states, (B, .) each.

    Where the mask (B, T) is False the states stay, and the output is the previous one. `step` is
    told the row too.
    """
    rows, finals = [], []
    for b in range(len(x)):
        now, output, outputs = [s[b] for s in state], np.zeros_like(state[0][b]), []
        for t in range(x.shape[1]):
            if mask is None or mask[b, t]:
                now = step(x[b, t], now, b)
                output = now[0]
            elif zero_output_for_mask:
                output = np.zeros_like(output)
            outputs.append(output)
        rows.append(outputs)
        finals.append(now)
    return np.array(rows), [np.array(s) for s in zip(*finals, strict=True)]


def _row(step, w, keep, options, x, state, b):
    return step(x, state, w, keep[b], *options)


def exact(arrays):
    return {name: np.asarray(a, np.float64) for name, a in arrays.items()}


def lstm(
    x,
    weights,
    state=None,
    coupled_gates=False,
    output_peephole="current",
    activation="tanh",
    recurrent_activation="sigmoid",
    recurrent_mask=None,
    **masking,
):
    """Outputs (B, T, P or U) and final [h, c] of an LSTM, with peepholes if it has the weights.

    `recurrent_mask` (B, P or U) scales h as the gates see it, at every step.
    """
    w = exact(weights)
    units = w["kernel"].shape[-1] // (3 if coupled_gates else 4)
    if state is None:
        state = [np.zeros((len(x), n)) for n in (len(w["recurrent_kernel"]), units)]
    options = coupled_gates, output_peephole, activation, recurrent_activation
    keep = np.ones_like(state[0]) if recurrent_mask is None else recurrent_mask
    step = partial(_row, lstm_step, w, keep, options)
    return scan(step, np.float64(x), state, **masking)


def gru(
    x,
    weights,
    state=None,
    reset_after=False,
    update_gate="candidate",
    activation="tanh",
    recurrent_activation="sigmoid",
    recurrent_mask=None,
    **masking,
):
    """Outputs (B, T, U) and final [h] of a GRU."""
    w = exact(weights)
    if state is None:
        state = [np.zeros((len(x), len(w["recurrent_kernel"])))]
    options = reset_after, update_gate, activation, recurrent_activation
    keep = np.ones_like(state[0]) if recurrent_mask is None else recurrent_mask
    step = partial(_row, gru_step, w, keep, options)
    return scan(step, np.float64(x), state, **masking)


def minimal(step, gates, x, weights, state=None, activation="linear", **masking):
    """Outputs (B, T, U) and final [h] of a minimal cell, whose gates see the frame alone."""
    w = exact(weights)
    if state is None:
        state = [np.zeros((len(x), w["kernel"].shape[-1] // (gates + 1)))]
    keep = np.ones_like(state[0])
    return scan(partial(_row, step, w, keep, (activation,)), np.float64(x), state, **masking)


min_gru = partial(minimal, min_gru_step, 1)
min_lstm = partial(minimal, min_lstm_step, 2)


def gradient(loss, arrays, names, delta=1e-6):
    """The gradient of `loss(arrays)` with respect to each named array, by central differences."""
    results = {}
    for name in names:
        results[name] = np.zeros(arrays[name].shape)
        for index in np.ndindex(*arrays[name].shape):
            moved = np.zeros(arrays[name].shape)
            moved[index] = delta
            up = loss({**arrays, name: arrays[name] + moved})
            down = loss({**arrays, name: arrays[name] - moved})
            results[name][index] = (up - down) / (2.0 * delta)
    return results
