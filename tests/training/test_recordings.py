"""Truncated backpropagation over long recordings: the state is carried, the gradient is not."""

import keras
import numpy as np
import pytest

import kgated
from kgated.training import NextEpoch, Recordings, carry_state
from kgated.training.recordings import START, X

FEATURES, UNITS, STEPS = 3, 4, 5
LENGTHS = (12, 7, 5, 9)


@pytest.fixture
def x(rng):
    return [rng.normal(size=(n, FEATURES)).astype(np.float32) for n in LENGTHS]


@pytest.fixture
def y(x):
    return [(frames.sum(axis=1) > 0).astype(np.int32) for frames in x]


def stack(*recurrent):
    layers = [keras.Input((None, FEATURES)), *recurrent, keras.layers.Dense(2)]
    return keras.Sequential(layers)


def randomized(model, rng):
    model.set_weights([w + rng.normal(0.0, 0.4, w.shape) for w in model.get_weights()])
    return model


def outputs_of(stateful, data):
    """The output for each recording, put together from its chunks in the order heard."""
    chunks = {n: [] for row in data.rows for n, _ in row}
    for k in range(len(data)):
        inputs, _, real = data[k]
        output = np.asarray(stateful.predict_on_batch(inputs))
        for b, row in enumerate(data.rows):
            if k < len(row):
                chunks[row[k][0]].append(output[b][real[b] > 0])
    return [np.concatenate(chunks[n]) for n in sorted(chunks)]


SEQUENCES = {"return_sequences": True}
STACKS = {
    "lstm": lambda: [kgated.LSTM(UNITS, **SEQUENCES)],
    "peephole": lambda: [kgated.PeepholeLSTM(UNITS, projection_units=3, **SEQUENCES)],
    "gru over lstm": lambda: [kgated.LSTM(UNITS, **SEQUENCES), kgated.GRU(UNITS, **SEQUENCES)],
    "keras": lambda: [keras.layers.GRU(UNITS, **SEQUENCES)],
    "cells": lambda: [keras.layers.RNN([kgated.LSTMCell(UNITS), kgated.GRUCell(3)], **SEQUENCES)],
}


@pytest.mark.parametrize("name", STACKS)
def test_pieces_equal_the_whole_and_each_recording_starts_afresh(name, x, y, rng):
    model = randomized(stack(*STACKS[name]()), rng)
    stateful, data = carry_state(model, streams=2), Recordings(x, y, streams=2, steps=STEPS)
    for _ in range(2):  # the second pass starts from zeros again
        for output, recording in zip(outputs_of(stateful, data), x, strict=True):
            expected = np.asarray(model(recording[None]))[0]
            np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6)
    fresh = np.asarray(model(x[0][None, STEPS:]))[0]
    assert np.abs(outputs_of(stateful, data)[0][STEPS:] - fresh).max() > 1e-2  # the state matters


def test_masked_frames_leave_the_state_as_it_is(x, y, rng):
    x[0][[2, 3, 6]] = 0.0
    model = randomized(stack(keras.layers.Masking(), kgated.LSTM(UNITS, **SEQUENCES)), rng)
    outputs = outputs_of(carry_state(model, 2), Recordings(x, y, 2, STEPS))
    for output, recording in zip(outputs, x, strict=True):
        expected = np.asarray(model(recording[None]))[0]
        np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6)


def gradient(model, *batch):
    """The gradient of the loss, seen as the step of plain descent at rate 1."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss)
    weights = model.trainable_variables
    before = [np.asarray(w) for w in weights]
    model.train_on_batch(*batch)
    step = [b - np.asarray(w) for b, w in zip(before, weights, strict=True)]
    for variable, value in zip(weights, before, strict=True):
        variable.assign(value)
    return np.concatenate([s.ravel() for s in step])


def test_the_gradient_ends_where_the_chunk_begins(rng):
    frames = rng.normal(size=(1, 2 * STEPS, FEATURES)).astype(np.float32)
    target = rng.integers(0, 2, (1, 2 * STEPS)).astype(np.int32)
    layer = kgated.LSTM(UNITS, return_sequences=True, return_state=True)
    head = keras.layers.Dense(2)
    x = keras.Input((None, FEATURES))
    model = randomized(keras.Model(x, head(layer(x)[0])), rng)
    states = [keras.Input((UNITS,)) for _ in range(2)]
    with_states = keras.Model([x, *states], head(layer(x, initial_state=states)[0]))
    stateful = carry_state(keras.Model(x, head(stateless(layer)(x))), streams=1)

    first, second = frames[:, :STEPS], frames[:, STEPS:]
    _, *middle = layer(first)
    constant = gradient(with_states, [second, *map(np.asarray, middle)], target[:, STEPS:])
    stateful.predict_on_batch({X: first, START: np.ones(1, np.float32)})
    truncated = gradient(stateful, {X: second, START: np.zeros(1, np.float32)}, target[:, STEPS:])
    np.testing.assert_allclose(truncated, constant, rtol=0, atol=1e-6)
    only_second = np.repeat([[0.0, 2.0]], STEPS, axis=1).reshape(1, -1)  # weights; mean over all
    through = gradient(model, frames, target, only_second)
    assert np.abs(through - truncated).max() > 1e-3


def stateless(layer):
    """The same cell as a layer with one output."""
    return keras.layers.RNN(layer.cell, return_sequences=True)


def test_learns_what_lies_further_back_than_a_chunk(rng):
    """The label of each frame, also 3 chunks later, is whether the first frame was positive."""
    keras.utils.set_random_seed(0)
    x = [rng.normal(size=(12, 1)).astype(np.float32) for _ in range(32)]
    y = [np.full(12, r[0, 0] > 0, np.int32) for r in x]
    for r in x:
        r[0] = np.sign(r[0]) * 3.0
    model = keras.Sequential(
        [keras.Input((None, 1)), kgated.GRU(8, return_sequences=True), keras.layers.Dense(2)]
    )
    stateful, data = carry_state(model, 8), Recordings(x, y, 8, 4, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stateful.compile(keras.optimizers.Adam(0.03), loss)
    stateful.fit(data, epochs=15, callbacks=[NextEpoch(data)], verbose=0)
    answers = np.asarray(model(np.stack(x))).argmax(axis=-1)
    assert (answers[:, -4:] == np.stack(y)[:, -4:]).mean() > 0.95


def test_each_frame_is_dealt_once_in_an_order_of_the_epochs_own(x, y):
    data = Recordings(x, y, streams=2, steps=STEPS, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        data.set_epoch(epoch)
        orders.append([list(row) for row in data.rows])
        batches = [data[k] for k in range(len(data))]
        frames = np.concatenate([inputs[X][real > 0] for inputs, _, real in batches])
        assert len(frames) == sum(LENGTHS)
        assert {tuple(f) for f in frames} == {tuple(f) for r in x for f in r}
        starts = sum(
            int(inputs[START][b]) for inputs, _, real in batches for b in range(2) if real[b].any()
        )
        assert starts == len(LENGTHS)
        assert all(not inputs[X][real == 0].any() for inputs, _, real in batches)
    assert orders[0] == orders[2] != orders[1]


def test_the_loss_is_the_mean_over_the_real_frames(x, y, rng):
    model = randomized(stack(kgated.LSTM(UNITS, **SEQUENCES)), rng)
    stateful, data = carry_state(model, 2), Recordings(x, y, 2, STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stateful.compile(loss=loss)
    measured = stateful.evaluate(data, verbose=0)
    each = [loss(t[None], model(r[None])) for r, t in zip(x, y, strict=True)]
    mean = np.average([float(value) for value in each], weights=LENGTHS)
    assert measured == pytest.approx(mean, abs=1e-6)


def test_chunks_are_processed_in_order(x, y, monkeypatch):
    read = []
    item = Recordings.__getitem__
    monkeypatch.setattr(Recordings, "__getitem__", lambda s, k: (read.append(k), item(s, k))[1])
    long = [np.tile(r, (8, 1)) for r in x]
    data = Recordings(long, [np.tile(t, 8) for t in y], streams=2, steps=STEPS)
    stateful = carry_state(stack(kgated.LSTM(UNITS, **SEQUENCES)), 2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    stateful.compile("sgd", loss)
    stateful.fit(data, verbose=0)
    assert read[-len(data) :] == list(range(len(data)))
    assert len(data) > 20
    with pytest.raises(ValueError, match="`shuffle` must be False"):
        stateful.fit(data, shuffle=True)


def test_the_twin_shares_the_weights_and_the_model_stays_without_state(x, y, rng):
    model = stack(kgated.LSTM(UNITS, **SEQUENCES))
    stateful = carry_state(model, 2)
    assert {id(w) for w in stateful.trainable_variables} == {
        id(w) for w in model.trainable_variables
    }
    names = [w.path for w in stateful.non_trainable_variables]
    assert [n for n in names if "state0" in n or "state1" in n] == names[:2]
    assert not any("state0" in w.path for w in model.variables)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [], "y": []}, "must hold the same recordings. Received 0, 0"),
        ({"y": []}, "must hold the same recordings. Received 4, 0"),
        ({"streams": 5}, r"`streams` must be in 1\.\.4"),
        ({"streams": 0}, r"`streams` must be in 1\.\.4"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"classes": 1}, r"targets in 0\.\.0.*Received 1 in recording 0"),
    ],
)
def test_bad_data_is_refused(x, y, change, message):
    with pytest.raises(ValueError, match=message):
        Recordings(**{"x": x, "y": y, "streams": 2, "steps": 4, **change})


def test_bad_recordings_are_refused_by_number(x, y):
    x[2][3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or inf in recording 2, frame 3"):
        Recordings(x, y, 2, 4)
    x[2], y[2] = x[2][:0], y[2][:0]
    with pytest.raises(ValueError, match="Received 0 and 0 in recording 2"):
        Recordings(x, y, 2, 4)
    x[2], y[2] = x[1], y[1][:-1]
    with pytest.raises(ValueError, match="Received 7 and 6 in recording 2"):
        Recordings(x, y, 2, 4)


def test_models_that_cannot_carry_a_state_are_refused():
    both = keras.layers.Bidirectional(kgated.LSTM(UNITS, **SEQUENCES), name="both")
    for layer in (both, kgated.LSTM(UNITS, go_backwards=True, name="both", **SEQUENCES)):
        with pytest.raises(ValueError, match="`both`, which needs the whole recording"):
            carry_state(stack(layer), 2)
    x = keras.Input(batch_shape=(2, None, FEATURES))
    stateful = kgated.LSTM(UNITS, stateful=True, **SEQUENCES)
    with pytest.raises(ValueError, match="`stateful=True`: build it without"):
        carry_state(keras.Model(x, stateful(x)), 2)
    x = keras.Input((None, FEATURES))
    with pytest.raises(ValueError, match=r"one input and one output\. Received 1 and 2"):
        carry_state(keras.Model(x, [x, keras.layers.Dense(2)(x)]), 2)
