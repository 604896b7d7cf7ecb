"""With copied weights our layers are Keras's own, in every way a person can call those."""

import keras
import numpy as np
import pytest
from keras import ops
from registry import BATCH, FEATURES, TIME, UNITS, randomized, values, weights_of

import kgated

X_SHAPE = (BATCH, TIME, FEATURES)
TOLERANCE = 1e-6
MASK = np.array([[True, True, False, False], [True, False, True, True]])

# Keras's class, ours, and the options of Keras's layer.
PAIRS = {
    "LSTM": (keras.layers.LSTM, kgated.LSTM, {}),
    "LSTM-no-bias": (keras.layers.LSTM, kgated.LSTM, {"use_bias": False}),
    "LSTM-zero-peepholes": (keras.layers.LSTM, kgated.PeepholeLSTM, {}),
    "GRU-after": (keras.layers.GRU, kgated.GRU, {"reset_after": True}),
    "GRU-before": (keras.layers.GRU, kgated.GRU, {"reset_after": False}),
    "GRU-no-bias": (keras.layers.GRU, kgated.GRU, {"reset_after": True, "use_bias": False}),
}


@pytest.fixture(params=PAIRS)
def pair(request, rng):
    """A function building Keras's layer, random weights, and ours made from it."""
    theirs_class, ours_class, fixed = PAIRS[request.param]

    def build(**options):
        theirs = theirs_class(UNITS, **fixed, **options)
        theirs.build((BATCH, TIME, FEATURES))
        randomized(theirs, rng)
        return ours_class.from_keras(theirs), theirs

    return build


def close(ours, theirs):
    ours, theirs = (keras.tree.flatten(values(side)) for side in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"return_sequences": True},
        {"return_sequences": True, "return_state": True},
        {"go_backwards": True, "return_sequences": True, "return_state": True},
        {"unroll": True, "return_state": True},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
    ],
    ids=str,
)
def test_same_values(pair, x, options):
    ours, theirs = pair(**options)
    close(ours(x), theirs(x))


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_same_under_a_mask(pair, x, zero, go_backwards):
    ours, theirs = pair(
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=zero,
        go_backwards=go_backwards,
    )
    mask = ops.convert_to_tensor(MASK)
    close(ours(x, mask=mask), theirs(x, mask=mask))


def test_same_from_an_initial_state(pair, x, rng):
    ours, theirs = pair(return_state=True)
    state = [rng.normal(size=(BATCH, UNITS)).astype(np.float32) for _ in theirs.state_size]
    close(ours(x, initial_state=state), theirs(x, initial_state=state))


def test_same_state_from_batch_to_batch(pair, x):
    ours, theirs = pair(stateful=True)
    for _ in range(2):
        for _ in range(2):
            close(ours(x), theirs(x))
        ours.reset_state()
        theirs.reset_state()


def test_same_training_step(pair, x, rng):
    share = rng.normal(size=(BATCH, UNITS)).astype(np.float32)
    ours, theirs = pair()
    for layer in (ours, theirs):
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
        model.train_on_batch(x, share)
    found, expected = weights_of(ours), weights_of(theirs)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
def test_same_under_bidirectional(pair, x, merge_mode):
    ours, theirs = (
        keras.layers.Bidirectional(layer, merge_mode=merge_mode)
        for layer in pair(return_sequences=True, return_state=True)
    )
    ours.build(x.shape)
    theirs.build(x.shape)
    for side in ("forward_layer", "backward_layer"):
        copy_weights(getattr(theirs, side), getattr(ours, side))
    mask = ops.convert_to_tensor(MASK)
    close(ours(x), theirs(x))
    close(ours(x, mask=mask), theirs(x, mask=mask))


def test_same_when_stacked(pair, x):
    layers = [pair(), pair()]
    ours, theirs = (
        keras.layers.RNN([copy_of(layer.cell) for layer in side], return_state=True)
        for side in zip(*layers, strict=True)
    )
    for stack in (ours, theirs):
        stack.build((BATCH, TIME, FEATURES))
    for target, source in zip(ours.cell.cells, theirs.cell.cells, strict=True):
        copy_weights(source, target)
    mask = ops.convert_to_tensor(MASK)
    for options in ({}, {"mask": mask}):
        close(ours(x, **options), theirs(x, **options))


def copy_of(cell):
    return type(cell).from_config(cell.get_config())


def copy_weights(source, target):
    by_name = {w.name: w for w in getattr(target, "cell", target).weights}
    for weight in getattr(source, "cell", source).weights:
        by_name[weight.name].assign(weight)


def test_from_keras_keeps_every_option_of_the_layer(pair):
    options = {
        "kernel_regularizer": "l1",
        "dropout": 0.25,
        "recurrent_dropout": 0.125,
        "seed": 3,
        "return_sequences": True,
        "go_backwards": True,
        "unroll": True,
        "zero_output_for_mask": True,
        "activity_regularizer": "l2",
        "dtype": "mixed_bfloat16",
        "name": "kept",
    }
    ours, theirs = pair(**options)
    config, expected = ours.get_config(), theirs.get_config()
    assert {k: config[k] for k in expected} == expected


def test_from_keras_without_weights_leaves_building_for_later(x):
    ours = kgated.LSTM.from_keras(keras.layers.LSTM(UNITS))
    assert not ours.built
    assert ours(x).shape == (BATCH, UNITS)


def test_zero_peepholes_are_the_plain_lstm(rng, x):
    plain = randomized(built(kgated.LSTM(UNITS)), rng)
    for peephole in ("diagonal", "full"):
        with_peepholes = built(kgated.PeepholeLSTM(UNITS, peephole=peephole))
        copy_weights(plain, with_peepholes)
        close(with_peepholes(x), plain(x))


def built(layer):
    layer.build((None, None, FEATURES))
    return layer


def test_raw_weights_between_gru_conventions_differ(pair, x):
    """The trap: another `update_gate`, or two gates swapped, is seen by the tolerance above."""
    ours, theirs = pair()
    if isinstance(ours, kgated.GRU):
        config = {**ours.get_config(), "update_gate": "candidate"}
        wrong = built(kgated.GRU.from_config(config))
        copy_weights(theirs, wrong)
        assert np.abs(values(wrong(x)) - values(theirs(x))).max() > 1e3 * TOLERANCE
    swapped = np.roll(np.arange(theirs.cell.kernel.shape[-1]), UNITS)
    ours.cell.kernel.assign(theirs.cell.kernel.numpy()[:, swapped])
    assert np.abs(values(ours(x)) - values(theirs(x))).max() > 1e3 * TOLERANCE


def test_tolerance_sees_a_small_error_in_each_weight(pair, x, rng):
    ours, theirs = pair()
    for weight in ours.cell.weights:
        kept = weight.numpy()
        weight.assign(kept + 1e-3 * rng.normal(size=kept.shape))
        assert np.abs(values(ours(x)) - values(theirs(x))).max() > 10 * TOLERANCE, weight.name
        weight.assign(kept)
    close(ours(x), theirs(x))


@pytest.mark.parametrize("wrong", [keras.layers.GRU(3), keras.layers.Dense(3), None])
def test_from_keras_refuses_another_kind(wrong):
    with pytest.raises(TypeError, match=r"`layer` must be a keras\.layers\.LSTM"):
        kgated.LSTM.from_keras(wrong)


@pytest.mark.parametrize("name", PAIRS)
def test_same_initial_weights_from_the_same_seeds(name):
    theirs_class, ours_class, fixed = PAIRS[name]
    seeded = {
        "kernel_initializer": keras.initializers.HeNormal(seed=1),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=2),
        "bias_initializer": keras.initializers.RandomNormal(seed=3),
    }
    ours, theirs = (built(one(UNITS, **fixed, **seeded)) for one in (ours_class, theirs_class))
    found, expected = weights_of(ours), weights_of(theirs)
    for weight in expected:
        np.testing.assert_array_equal(found[weight], expected[weight])


def losses_of_fit(layer, rng, **compiling):
    """The loss of each epoch of training on tokens with a mask, the last batch a smaller one."""
    tokens = rng.integers(0, 5, size=(10, TIME))
    labels = (tokens.sum(axis=1) % 2).astype(np.float32)
    front = keras.layers.Embedding(5, FEATURES, mask_zero=True, embeddings_initializer="ones")
    model = keras.Sequential([front, layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiling)
    history = model.fit(tokens, labels, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"]


def test_fit_follows_keras_epoch_by_epoch(pair):
    ours, theirs = pair()
    if isinstance(ours, kgated.PeepholeLSTM):
        ours.cell.peephole_kernel.trainable = False  # else it learns peepholes
    found, expected = (losses_of_fit(one, np.random.default_rng(1)) for one in (ours, theirs))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[-1] < found[0]


def test_fit_is_the_same_compiled_by_xla(rng):
    layer = randomized(built(kgated.PeepholeLSTM(UNITS)), rng)
    twin = built(kgated.PeepholeLSTM(UNITS))
    twin.set_weights(layer.get_weights())
    found, expected = (
        losses_of_fit(one, np.random.default_rng(1), jit_compile=jit)
        for one, jit in ((twin, True), (layer, False))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
