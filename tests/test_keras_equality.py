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
        reference = theirs_class(UNITS, **fixed, **options)
        reference.build((BATCH, TIME, FEATURES))
        randomized(reference, rng)
        return ours_class.from_keras(reference), reference

    return build


def close(gated, reference):
    gated, reference = (keras.tree.flatten(values(side)) for side in (gated, reference))
    for a, b in zip(gated, reference, strict=True):
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
def test_outputs_equal_keras(pair, x, options):
    gated, reference = pair(**options)
    close(gated(x), reference(x))


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_same_under_a_mask(pair, x, zero, go_backwards):
    gated, reference = pair(
        return_sequences=True,
        return_state=True,
        zero_output_for_mask=zero,
        go_backwards=go_backwards,
    )
    mask = ops.convert_to_tensor(MASK)
    close(gated(x, mask=mask), reference(x, mask=mask))


def test_same_from_an_initial_state(pair, x, rng):
    gated, reference = pair(return_state=True)
    state = [rng.normal(size=(BATCH, UNITS)).astype(np.float32) for _ in reference.state_size]
    close(gated(x, initial_state=state), reference(x, initial_state=state))


def test_same_state_from_batch_to_batch(pair, x):
    gated, reference = pair(stateful=True)
    for _ in range(2):
        for _ in range(2):
            close(gated(x), reference(x))
        gated.reset_state()
        reference.reset_state()


def test_same_training_step(pair, x, rng):
    weight = rng.normal(size=(BATCH, UNITS)).astype(np.float32)
    gated, reference = pair()
    for layer in (gated, reference):
        model = keras.Sequential([layer])
        model.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=True)
        model.train_on_batch(x, weight)
    actual, expected = weights_of(gated), weights_of(reference)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave", None])
def test_same_under_bidirectional(pair, x, merge_mode):
    gated, reference = (
        keras.layers.Bidirectional(layer, merge_mode=merge_mode)
        for layer in pair(return_sequences=True, return_state=True)
    )
    gated.build(x.shape)
    reference.build(x.shape)
    for side in ("forward_layer", "backward_layer"):
        copy_weights(getattr(reference, side), getattr(gated, side))
    mask = ops.convert_to_tensor(MASK)
    close(gated(x), reference(x))
    close(gated(x, mask=mask), reference(x, mask=mask))


def test_same_when_stacked(pair, x):
    layers = [pair(), pair()]
    gated, reference = (
        keras.layers.RNN([copy_of(layer.cell) for layer in side], return_state=True)
        for side in zip(*layers, strict=True)
    )
    for stack in (gated, reference):
        stack.build((BATCH, TIME, FEATURES))
    for target, source in zip(gated.cell.cells, reference.cell.cells, strict=True):
        copy_weights(source, target)
    mask = ops.convert_to_tensor(MASK)
    for options in ({}, {"mask": mask}):
        close(gated(x, **options), reference(x, **options))


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
    gated, reference = pair(**options)
    config, expected = gated.get_config(), reference.get_config()
    assert {k: config[k] for k in expected} == expected


def test_from_keras_without_weights_leaves_building_for_later(x):
    gated = kgated.LSTM.from_keras(keras.layers.LSTM(UNITS))
    assert not gated.built
    assert gated(x).shape == (BATCH, UNITS)


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
    gated, reference = pair()
    if isinstance(gated, kgated.GRU):
        config = {**gated.get_config(), "update_gate": "candidate"}
        wrong = built(kgated.GRU.from_config(config))
        copy_weights(reference, wrong)
        assert np.abs(values(wrong(x)) - values(reference(x))).max() > 1e3 * TOLERANCE
    swapped = np.roll(np.arange(reference.cell.kernel.shape[-1]), UNITS)
    gated.cell.kernel.assign(reference.cell.kernel.numpy()[:, swapped])
    assert np.abs(values(gated(x)) - values(reference(x))).max() > 1e3 * TOLERANCE


def test_tolerance_sees_a_small_error_in_each_weight(pair, x, rng):
    gated, reference = pair()
    for weight in gated.cell.weights:
        saved = weight.numpy()
        weight.assign(saved + 1e-3 * rng.normal(size=saved.shape))
        assert np.abs(values(gated(x)) - values(reference(x))).max() > 10 * TOLERANCE, weight.name
        weight.assign(saved)
    close(gated(x), reference(x))


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
    gated, reference = (
        built(item(UNITS, **fixed, **seeded)) for item in (ours_class, theirs_class)
    )
    actual, expected = weights_of(gated), weights_of(reference)
    for weight in expected:
        np.testing.assert_array_equal(actual[weight], expected[weight])


def losses_of_fit(layer, rng, **compiling):
    """The loss of each epoch of training on tokens with a mask, the last batch a smaller one."""
    tokens = rng.integers(0, 5, size=(10, TIME))
    labels = (tokens.sum(axis=1) % 2).astype(np.float32)
    front = keras.layers.Embedding(5, FEATURES, mask_zero=True, embeddings_initializer="ones")
    model = keras.Sequential([front, layer, keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.1), "mse", **compiling)
    history = model.fit(tokens, labels, batch_size=4, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"]


@pytest.mark.parametrize("pair", ["LSTM", "LSTM-zero-peepholes", "GRU-after"], indirect=True)
def test_fit_follows_keras_epoch_by_epoch(pair):
    gated, reference = pair()
    if isinstance(gated, kgated.PeepholeLSTM):
        gated.cell.peephole_kernel.trainable = False  # else it learns peepholes
    actual, expected = (
        losses_of_fit(item, np.random.default_rng(1)) for item in (gated, reference)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert actual[-1] < actual[0]


def test_fit_is_the_same_compiled_by_xla(rng):
    layer = randomized(built(kgated.PeepholeLSTM(UNITS)), rng)
    second = built(kgated.PeepholeLSTM(UNITS))
    second.set_weights(layer.get_weights())
    actual, expected = (
        losses_of_fit(item, np.random.default_rng(1), jit_compile=jit)
        for item, jit in ((second, True), (layer, False))
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
