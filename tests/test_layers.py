"""The contract that every row of the registry keeps: what a layer computes.

What its options, configuration and files keep is in `test_layer_options.py`, its conversion in
`test_layers_convert.py`.
"""

import keras
import numpy as np
import pytest
from keras import ops
from registry import BATCH, FEATURES, ROWS, TIME, UNITS, randomized, values, weights_of

X_SHAPE = (BATCH, TIME, FEATURES)
TOLERANCE = 2e-6  # over T steps; one step keeps 1e-6
MASK = np.array([[True, False, True, False], [False, True, True, True]])


@pytest.fixture(params=ROWS, ids=str)
def row(request):
    return request.param


def close(gated, reference, tolerance=TOLERANCE):
    gated, reference = (keras.tree.flatten(values(side)) for side in (gated, reference))
    for a, b in zip(gated, reference, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_outputs_and_states_equal_oracle(row, x, rng):
    layer = row.build(rng, return_sequences=True, return_state=True)
    outputs, states = row.oracle(x, weights_of(layer))
    close(layer(x), (outputs, *states))


def test_last_output_alone_has_the_shape_and_dtype_announced(row, x, rng):
    layer = row.build(rng)
    outputs = layer(x)
    assert outputs.shape == layer.compute_output_shape(x.shape) == (BATCH, layer.cell.output_size)
    assert keras.backend.standardize_dtype(outputs.dtype) == layer.compute_dtype == "float32"
    close(outputs, row.oracle(x, weights_of(layer))[0][:, -1])


def test_symbolic_call_announces_the_same_shapes(row):
    layer = row.build(return_sequences=True, return_state=True)
    output, *states = layer(keras.Input((None, FEATURES)))
    assert output.shape == (None, None, layer.cell.output_size)
    assert [s.shape for s in states] == [(None, n) for n in layer.state_size]
    assert layer.state_size == [layer.cell.output_size, UNITS][: len(states)]


def test_layer_equals_cell_steps(row, x, rng):
    layer = row.build(rng, return_sequences=True, return_state=True)
    states, outputs = layer.cell.get_initial_state(BATCH), []
    for t in range(TIME):
        output, states = layer.cell(ops.convert_to_tensor(x[:, t]), states)
        outputs.append(values(output))
    close(layer(x), (np.stack(outputs, axis=1), *states))


@pytest.mark.parametrize("unroll", [False, True])
@pytest.mark.parametrize("zero", [False, True])
def test_masked_step_changes_nothing(row, x, rng, zero, unroll):
    if zero and unroll and keras.backend.backend() == "jax":
        pytest.skip("Keras's unrolled loop on JAX knows no zero_output_for_mask")
    options = {"return_sequences": True, "return_state": True}
    layer = row.build(rng, zero_output_for_mask=zero, unroll=unroll, **options)
    outputs, states = row.oracle(x, weights_of(layer), mask=MASK, zero_output_for_mask=zero)
    garbage = np.where(MASK[..., None], x, 1e4).astype(np.float32)
    close(layer(garbage, mask=ops.convert_to_tensor(MASK)), (outputs, *states))


def test_sequence_hidden_whole_leaves_the_initial_state(row, x, rng):
    layer = row.build(rng, return_state=True)
    start = [rng.normal(size=(BATCH, n)).astype(np.float32) for n in layer.state_size]
    mask = ops.convert_to_tensor(np.array([[False] * TIME, [True] * TIME]))
    output, *states = values(layer(x, mask=mask, initial_state=start))
    # Where nothing was seen yet, Keras's loop puts out zeros, and on JAX the initial state.
    unseen = start[0][0] if keras.backend.backend() == "jax" else np.zeros_like(start[0][0])
    np.testing.assert_array_equal(output[0], unseen)
    for actual, before in zip(states, start, strict=True):
        np.testing.assert_array_equal(actual[0], before[0])
        assert np.abs(actual[1] - before[1]).max() > 1e-3


def test_initial_state_carries_on(row, x, rng):
    layer = row.build(rng, return_sequences=True, return_state=True)
    full, *end = values(layer(x))
    first, *middle = layer(x[:, :1])
    second, *last = layer(x[:, 1:], initial_state=middle)
    close((np.concatenate(values([first, second]), axis=1), *last), (full, *end))


def test_stateful_pieces_equal_the_whole(row, x, rng):
    layer = row.build(rng, stateful=True, return_sequences=True)
    full, _ = row.oracle(x, weights_of(layer))
    for _ in range(2):  # the second time from a reset state
        pieces = [values(layer(x[:, :3])), values(layer(x[:, 3:]))]
        close(np.concatenate(pieces, axis=1), full)
        layer.reset_state()


def test_going_backwards_equals_reversed_input(row, x, rng):
    layer = row.build(rng, go_backwards=True, return_sequences=True, return_state=True)
    outputs, states = row.oracle(x[:, ::-1], weights_of(layer))
    close(layer(x), (outputs, *states))


def test_unrolled_equals_loop(row, x, rng):
    layer = row.build(rng, unroll=True, return_sequences=True, return_state=True)
    outputs, states = row.oracle(x, weights_of(layer))
    close(layer(x), (outputs, *states))


def test_batch_rows_do_not_meet(row, x, rng):
    layer = row.build(rng, return_sequences=True)
    changed = x.copy()
    changed[1] += 1.0
    here, there = values(layer(x)), values(layer(changed))
    np.testing.assert_array_equal(here[0], there[0])
    assert np.abs(here[1] - there[1]).max() > 1e-3


def test_bidirectional_equals_both_directions(row, x, rng):
    both = keras.layers.Bidirectional(row.build(return_sequences=True))
    both.build(x.shape)
    randomized(both, rng)
    forward, _ = row.oracle(x, weights_of(both.forward_layer))
    backward, _ = row.oracle(x[:, ::-1], weights_of(both.backward_layer))
    close(both(x), np.concatenate([forward, backward[:, ::-1]], axis=-1))


def test_stacked_cells_equal_layers_in_turn(row, x, rng):
    cells = [row.cell(), row.cell(units=UNITS + 1)]
    stack = keras.layers.RNN(cells, return_sequences=True)
    stack.build(x.shape)
    randomized(stack, rng)
    first, _ = row.oracle(x, weights_of(cells[0]))
    second, _ = row.oracle(first, weights_of(cells[1]))
    close(stack(x), second)


def test_time_distributed_equals_each_sequence(row, rng):
    layer = row.build(rng)
    sequences = rng.normal(size=(BATCH, 2, TIME, FEATURES)).astype(np.float32)
    outputs = values(keras.layers.TimeDistributed(layer)(sequences))
    for n in range(2):
        close(outputs[:, n], row.oracle(sequences[:, n], weights_of(layer))[0][:, -1])


@pytest.mark.parametrize("source", ["masking", "embedding"])
def test_mask_arrives_from_the_layer_before(row, rng, source):
    layer = row.build(rng)
    tokens = np.array([[1, 2, 0, 0], [0, 1, 2, 0]])
    front = keras.layers.Embedding(3, FEATURES, mask_zero=True)
    embedded = values(front(tokens))
    if source == "masking":
        front, tokens = keras.layers.Masking(7.0), np.where(tokens[..., None] == 0, 7.0, embedded)
    expected, _ = row.oracle(
        embedded, weights_of(layer), mask=np.array([[1, 1, 0, 0], [0, 1, 1, 0]])
    )
    close(keras.Sequential([front, layer])(tokens), expected[:, -1])


def test_rnn_of_the_cell_equals_the_layer(row, x, rng):
    layer = row.build(rng, return_sequences=True, return_state=True)
    config = keras.saving.serialize_keras_object(layer.cell)
    cell = keras.saving.deserialize_keras_object(config)
    loop = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    loop.build(x.shape)
    loop.set_weights(layer.get_weights())
    close(loop(x), layer(x))


def test_decoder_starts_from_the_encoders_state(row, x, rng, tmp_path):
    encoder, decoder = (row.build(rng, return_sequences=True, return_state=True) for _ in range(2))
    source, target = keras.Input((None, FEATURES)), keras.Input((None, FEATURES))
    _, *states = encoder(source)
    decoded, *_ = decoder(target, initial_state=states)
    model = keras.Model([source, target], decoded)
    _, end = row.oracle(x, weights_of(encoder))
    expected, _ = row.oracle(x[:, ::-1], weights_of(decoder), state=end)
    close(model([x, x[:, ::-1].copy()]), expected)
    model.save(tmp_path / "both.keras")
    again = keras.saving.load_model(tmp_path / "both.keras")
    close(again([x, x[:, ::-1].copy()]), expected)
