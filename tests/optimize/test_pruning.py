"""Pruning: schedules against the published formula, masks against brute force, then training."""

import itertools
import types

import keras
import numpy as np
import pytest
from model_builders import compiled, fit_noise

import kgated
from kgated.optimize import ConstantSparsity, PolynomialDecay, masks

NOW = ConstantSparsity(0.75, begin_step=0, frequency=1)


def by_name(model):
    return {w.path.split("/", 1)[-1]: keras.ops.convert_to_numpy(w) for w in model.weights}


def zeros(weight):
    return int(np.sum(weight == 0))


# Zhu & Gupta's equation 1 in exact fractions: 0.8 - 0.8·(1 - t/8)³, by hand at t = 0, 2, 4, 6, 8.
PUBLISHED = {0: 0.0, 2: 0.4625, 4: 0.7, 6: 0.7875, 8: 0.8}


def test_polynomial_decay_is_the_published_one():
    schedule = PolynomialDecay(0.0, 0.8, begin_step=10, end_step=18, frequency=2)
    results = {t - 10: schedule(t) for t in range(5, 25) if schedule(t)[0]}
    assert list(results) == list(PUBLISHED)
    for t, (_, sparsity) in results.items():
        assert sparsity == pytest.approx(PUBLISHED[t], abs=1e-12)
    assert schedule(100) == (False, 0.8)


def test_constant_sparsity_has_turns_and_an_end():
    turns = [t for t in range(20) if ConstantSparsity(0.5, 3, 12, 4)(t)[0]]
    assert turns == [3, 7, 11]
    assert ConstantSparsity(0.5, 3, frequency=4)(4003) == (True, 0.5)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.75, 0.999])
def test_the_largest_weights_remain(rng, sparsity):
    weight = rng.normal(size=(6, 9))
    mask = masks.largest(np.abs(weight), sparsity)
    assert mask.sum() == max(1, round(54 * (1 - sparsity)))
    remaining, gone = np.abs(weight[mask]), np.abs(weight[~mask])
    assert gone.size == 0 or remaining.min() > gone.max()


def test_equal_weights_do_not_exceed_the_number_that_remains():
    assert masks.largest(np.ones((4, 4)), 0.75).sum() == 4


@pytest.mark.parametrize("shape", [(8, 12), (7, 11), (3, 7, 11)])
def test_blocks_with_the_smallest_mean_are_pruned_together(rng, shape):
    weight = rng.normal(size=shape)
    mask = masks.largest_blocks(weight, 0.5, (4, 3))
    means = {True: [], False: []}
    for tap in np.ndindex(shape[:-2]):
        for i, j in itertools.product(range(0, shape[-2], 4), range(0, shape[-1], 3)):
            inside = (*tap, slice(i, i + 4), slice(j, j + 3))
            assert mask[inside].all() or not mask[inside].any()
            means[bool(mask[inside].any())].append(np.abs(weight[inside]).mean())
    assert min(means[True]) > max(means[False])
    assert abs(len(means[True]) - len(means[False])) <= 1


@pytest.mark.parametrize("shape", [(8, 5), (7, 5), (3, 6, 5)])
def test_two_of_four_inputs_are_pruned(rng, shape):
    weight = rng.normal(size=shape)
    mask = masks.two_in_four(weight)
    for tap, column in itertools.product(np.ndindex(shape[:-2]), range(shape[-1])):
        for i in range(0, shape[-2], 4):
            four = np.abs(weight[(*tap, slice(i, i + 4), column)])
            remaining = mask[(*tap, slice(i, i + 4), column)]
            assert sorted(four[remaining]) == sorted(four)[-2:]


STACKS = {
    "ours": lambda: [
        keras.layers.RNN([kgated.LSTMCell(8), kgated.GRUCell(8)], return_sequences=True),
        kgated.PeepholeLSTM(8),
    ],
    "stock": lambda: [
        keras.layers.LSTM(8, return_sequences=True),
        keras.Sequential([keras.Input((3, 8)), keras.layers.GRU(8)], name="inner"),
    ],
    "wrapped": lambda: [
        keras.layers.Conv1D(8, 2),
        keras.layers.Bidirectional(kgated.LSTM(8, projection_units=4)),
    ],
}


@pytest.mark.parametrize("stack", STACKS)
def test_every_matrix_is_pruned_and_trained_and_nothing_else(rng, stack):
    model = compiled(*STACKS[stack]())
    before = by_name(model)
    fit_noise(model, rng, kgated.prune(model, NOW))
    for name, weight in by_name(model).items():
        matrix = name.split("/")[-1] in {"kernel", "recurrent_kernel", "projection_kernel"}
        assert np.any(weight != before[name]), name
        if matrix:
            assert zeros(weight) == weight.size - max(1, round(weight.size / 4)), name
            assert not np.any(np.signbit(weight[weight == 0])), "-0.0 compresses badly"
        else:
            assert zeros(weight) < weight.size / 2, name
    assert kgated.sparsity(model) == pytest.approx(dict.fromkeys(kgated.sparsity(model), 0.75))


class Shares(keras.callbacks.Callback):
    """What a callback after ours sees of the weights after each batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(kgated.sparsity(self.model)["gru"])


def test_zeros_follow_the_schedule_and_stay(rng):
    model, shares = compiled(kgated.GRU(8, name="gru")), Shares()
    schedule = PolynomialDecay(0.0, 0.8, begin_step=1, end_step=5, power=1, frequency=2)
    fit_noise(model, rng, kgated.prune(model, schedule), shares, epochs=3)
    assert shares.seen == pytest.approx([0.0, 0.0, 0.4, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8], abs=0.003)
    masked = {n: w == 0 for n, w in by_name(model).items() if n.endswith("kernel")}
    fit_noise(model, rng)  # and without the callback they do not
    assert all(zeros(by_name(model)[n]) < m.sum() / 10 for n, m in masked.items())


def test_weights_that_stay_train_as_in_a_model_that_has_only_these(rng):
    """The oracle: SGD by hand on the gradient that Keras gives for the masked weights."""
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    W = rng.normal(size=(6, 4)).astype(np.float32)
    model.layers[0].set_weights([W])
    x, y = rng.normal(size=(5, 6)), rng.normal(size=(5, 4))
    model.fit(x, y, batch_size=5, epochs=3, verbose=0, callbacks=[kgated.prune(model, NOW)])
    mask = np.abs(W) >= np.sort(np.abs(W), axis=None)[-6]
    expected = W * mask
    for _ in range(3):
        expected = mask * (expected - 0.1 * (2 / 20) * x.T @ (x @ expected - y))
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-6)


def test_a_resumed_training_keeps_its_zeros(rng):
    model = compiled(kgated.GRU(8))
    fit_noise(model, rng, kgated.prune(model, NOW))
    masked = {n: w == 0 for n, w in by_name(model).items() if n.endswith("kernel")}
    late = ConstantSparsity(0.75, begin_step=1000)
    fit_noise(model, rng, kgated.prune(model, late))
    assert all(np.array_equal(by_name(model)[n] == 0, m) for n, m in masked.items())


def test_zeros_outlast_a_moving_average_and_a_file(rng, tmp_path):
    model = compiled(kgated.LSTM(8))
    model.compile(keras.optimizers.Adam(0.01, use_ema=True), "mse")
    fit_noise(model, rng, kgated.prune(model, ConstantSparsity(0.5, 3, frequency=1)))
    assert set(kgated.sparsity(model).values()) == {0.5}
    model.save(tmp_path / "pruned.keras")
    assert kgated.sparsity(keras.saving.load_model(tmp_path / "pruned.keras")) == kgated.sparsity(
        model
    )


def test_patterns_hold_after_training(rng):
    model = compiled(keras.layers.Conv1D(8, 2), kgated.LSTM(8))
    fit_noise(model, rng, kgated.prune(model, ConstantSparsity(0.5, 2), pattern="2:4"))
    for weight in (w for n, w in by_name(model).items() if n.endswith("kernel")):
        fours = np.moveaxis(weight, -2, -1).reshape(-1, 4)
        assert np.all((fours == 0).sum(axis=1) == 2)


def test_blocks_hold_after_training(rng):
    model = compiled(kgated.LSTM(8))
    fit_noise(model, rng, kgated.prune(model, NOW, block=(4, 2)))
    for weight in (w for n, w in by_name(model).items() if n.endswith("kernel")):
        blocks = weight.reshape(weight.shape[0] // 4, 4, weight.shape[1] // 2, 2)
        per_block = (blocks == 0).sum(axis=(1, 3))
        assert set(per_block.ravel()) == {0, 8}


def test_layers_are_chosen_by_name(rng):
    layers = [keras.layers.Embedding(8, 8, name="embed"), kgated.GRU(8, name="gru")]
    model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
    model.compile("adam", "mse")
    x = rng.integers(0, 8, (12, 5))
    pruning = kgated.prune(model, NOW, layers=["embed"])
    model.fit(x, np.ones((12, 8)), verbose=0, callbacks=[pruning])
    assert zeros(by_name(model)["embed/embeddings"]) == 48
    assert kgated.sparsity(model) == {"gru": 0.0}


def test_what_cannot_be_pruned_is_refused(rng):
    model = compiled(kgated.GRU(8))
    refused = [
        (lambda: kgated.prune(model, 0.5), TypeError, "`schedule`"),
        (lambda: kgated.prune(model, NOW, block=(0, 1)), ValueError, "`block`"),
        (lambda: kgated.prune(model, NOW, pattern="1:4"), ValueError, "`pattern`"),
        (lambda: kgated.prune(model, NOW, pattern="2:4"), ValueError, "ConstantSparsity"),
        (lambda: kgated.prune(model, NOW, layers=["gro"]), ValueError, "gro"),
        (lambda: kgated.prune(keras.Sequential([kgated.GRU(2)]), NOW), ValueError, "built"),
        (lambda: ConstantSparsity(1.0, 0), ValueError, "`target_sparsity`"),
        (lambda: PolynomialDecay(0.0, 0.5, 4, 4), ValueError, "`end_step`"),
        (lambda: ConstantSparsity(0.5, 0, frequency=0), ValueError, "`frequency`"),
        (lambda: ConstantSparsity(0.5, -1), ValueError, "`begin_step`"),
    ]
    for call, error, words in refused:
        with pytest.raises(error, match=words):
            call()


def test_a_training_that_would_lose_the_zeros_is_refused(rng):
    model, different = compiled(kgated.GRU(8)), compiled(kgated.GRU(8))
    with pytest.raises(ValueError, match="the model that is fitted"):
        fit_noise(different, rng, kgated.prune(model, NOW))
    model.compile("adam", "mse", steps_per_execution=3)
    with pytest.raises(ValueError, match="`steps_per_execution` must be 1"):
        fit_noise(model, rng, kgated.prune(model, NOW))


def test_any_function_is_a_schedule(rng):
    model = compiled(keras.layers.Dense(8))
    arrays = types.SimpleNamespace(call=lambda step: (np.bool_(True), np.float32(0.5)))
    fit_noise(model, rng, kgated.prune(model, arrays.call))
    assert set(kgated.sparsity(model).values()) == {0.5}
