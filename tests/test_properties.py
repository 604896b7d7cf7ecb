"""Properties that hold for any shape, options and mask, each example drawn by hypothesis."""

import keras
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from registry import Row, randomized, values, weights_of

import kgated

TOLERANCE = 5e-6
settings.register_profile("few", max_examples=25, deadline=None, derandomize=True, database=None)
settings.load_profile("few")

VARIANTS = {
    "coupled_gates": st.booleans(),
    "projection_units": st.none() | st.integers(1, 5),
    "layer_norm": st.booleans(),
    "use_bias": st.booleans(),
}
PEEPHOLES = {
    "peephole": st.sampled_from(["diagonal", "full"]),
    "output_peephole": st.sampled_from(["current", "previous"]),
}
GRU_VARIANTS = {
    "reset_after": st.booleans(),
    "update_gate": st.sampled_from(["candidate", "state"]),
    "use_bias": st.booleans(),
}
ROWS = st.one_of(
    st.builds(Row, st.just(kgated.LSTM), st.fixed_dictionaries(VARIANTS)),
    st.builds(Row, st.just(kgated.PeepholeLSTM), st.fixed_dictionaries(VARIANTS | PEEPHOLES)),
    st.builds(Row, st.just(kgated.GRU), st.fixed_dictionaries(GRU_VARIANTS)),
)
SIZES = st.tuples(*[st.integers(1, n) for n in (3, 6, 4, 5)])
SEEDS = st.integers(0, 2**16)


def case(row, sizes, seed, **options):
    """A layer with random weights, its inputs (B, T, F), and the random numbers."""
    batch, time, features, units = sizes
    rng = np.random.default_rng(seed)
    layer = row.layer(units, **row.options, return_sequences=True, **options)
    layer.build((batch, time, features))
    randomized(layer, rng)
    return layer, rng.normal(size=(batch, time, features)).astype(np.float32), rng


def close(gated, reference):
    scale = max(1.0, np.abs(reference).max())
    np.testing.assert_allclose(values(gated), reference, rtol=0, atol=TOLERANCE * scale)


@given(ROWS, SIZES, SEEDS)
def test_output_is_the_oracles(row, sizes, seed):
    layer, x, _ = case(row, sizes, seed)
    close(layer(x), row.oracle(x, weights_of(layer))[0])


@given(ROWS, SIZES, SEEDS, st.booleans(), st.data())
def test_masked_step_changes_nothing(row, sizes, seed, zero, data):
    layer, x, _ = case(row, sizes, seed, zero_output_for_mask=zero)
    bits = st.lists(st.booleans(), min_size=x[..., 0].size, max_size=x[..., 0].size)
    mask = np.reshape(data.draw(bits), x.shape[:2])
    expected, _ = row.oracle(x, weights_of(layer), mask=mask, zero_output_for_mask=zero)
    hidden = np.where(mask[..., None], x, np.float32(1e3))
    close(layer(hidden, mask=ops.convert_to_tensor(mask)), expected)
    if not zero:
        for b, row_mask in enumerate(mask):  # as if the masked steps had never been there
            observed = x[b : b + 1, row_mask]
            if row_mask.any():
                close(layer(observed)[:, -1], expected[b : b + 1, -1])


@given(ROWS, SIZES, SEEDS, st.data())
def test_batch_rows_are_independent(row, sizes, seed, data):
    layer, x, _ = case(row, (3, *sizes[1:]), seed)
    b = data.draw(st.integers(0, 2))
    together, separate = values(layer(x))[b], values(layer(x[b : b + 1]))[0]
    np.testing.assert_allclose(together, separate, rtol=0, atol=TOLERANCE)
    order = data.draw(st.permutations(range(3)))
    close(layer(x[order]), values(layer(x))[order])


@given(ROWS, SIZES, SEEDS, st.data())
def test_stateful_pieces_are_the_whole(row, sizes, seed, data):
    layer, x, _ = case(row, sizes, seed, stateful=True)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, x.shape[1] - 1)), max_size=3)))
    pieces = [p for p in np.split(x, cuts, axis=1) if p.shape[1]]
    actual = np.concatenate([values(layer(piece)) for piece in pieces], axis=1)
    close(actual, row.oracle(x, weights_of(layer))[0])


@given(ROWS, SIZES, SEEDS, st.booleans())
def test_going_backwards_is_reversed_input(row, sizes, seed, unroll):
    layer, x, _ = case(row, sizes, seed, go_backwards=True, unroll=unroll)
    close(layer(x), row.oracle(x[:, ::-1], weights_of(layer))[0])


@given(ROWS, SIZES, SEEDS)
def test_config_builds_the_same_layer(row, sizes, seed):
    layer, x, _ = case(row, sizes, seed)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    again.build(x.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(values(again(x)), values(layer(x)))


@given(ROWS.filter(lambda row: not row.options.get("layer_norm")), SIZES, SEEDS)
def test_an_error_in_a_weight_is_seen(row, sizes, seed):
    """The comparison above can fail."""
    layer, x, rng = case(row, sizes, seed)
    weights = weights_of(layer)
    weights["kernel"] = weights["kernel"] + 0.1 * rng.choice([-1, 1], weights["kernel"].shape)
    assert np.abs(values(layer(x)) - row.oracle(x, weights)[0]).max() > TOLERANCE
