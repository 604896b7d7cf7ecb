"""Quantization-aware training: gradients, ranges, files, and what is refused."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import kgated
from kgated.optimize.qat.fake_quant import SCHEMES, QuantParams, fake_quantize
from kgated.training import carry_state

FEATURES = 4
X_SHAPE = (8, 3, FEATURES)
SEQUENCE = kgated.LSTM(4, return_sequences=True)


def classifier(*layers):
    middle = layers or (kgated.LSTM(6, name="cell"),)
    return keras.Sequential([keras.Input((None, FEATURES)), *middle, keras.layers.Dense(3)])


def test_rounding_and_its_gradient_are_the_equations(rng):
    x = rng.normal(scale=2.0, size=500).astype(np.float32)
    scale, low, high = 0.05, -20.0, 30.0
    weight = rng.normal(size=500).astype(np.float32)
    v = keras.Variable(x)
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the gradient is taken by TensorFlow's tape here")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        y = fake_quantize(v * 1.0, QuantParams(scale, low, high))
        loss = ops.sum(y * weight)
    steps = np.rint(x / np.float32(scale))
    assert np.abs(np.asarray(y) - np.clip(steps, low, high) * scale).max() < 1e-6
    gradient = np.asarray(tape.gradient(loss, v.value))
    expected = np.where((steps >= low) & (steps <= high), weight, 0.0)
    assert np.abs(gradient - expected).max() < 1e-6
    assert np.abs(gradient - weight).max() > 0.1  # without the limits it would be another


@pytest.mark.parametrize("scheme", SCHEMES)
def test_zero_is_exact_with_all_parameters(scheme):
    for minimum, maximum in ((-1.0, 2.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)):
        low, high = ops.convert_to_tensor(minimum), ops.convert_to_tensor(maximum)
        params = SCHEMES[scheme].params(low, high)
        zero = fake_quantize(ops.zeros(1), params)
        assert float(zero[0]) == 0.0
        assert float(ops.max(params.qmax)) >= 0 >= float(ops.min(params.qmin))


def test_training_continues_after_saving_and_loading(x, rng, tmp_path):
    y = rng.integers(3, size=len(x))
    qat = kgated.quantize_aware(classifier(), warmup=2, freeze_at=6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    eagerly = keras.backend.backend() != "jax"  # what is compiled sooner, there, than computed
    qat.compile(keras.optimizers.Adam(0.05), loss, run_eagerly=eagerly)
    history = qat.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.1
    qat.save(tmp_path / "q.keras")
    loaded = keras.saving.load_model(tmp_path / "q.keras")
    actual, expected = (ops.convert_to_numpy(model(x)) for model in (loaded, qat))
    assert np.array_equal(actual, expected)
    before = ops.convert_to_numpy(loaded.ranges)
    loaded(10 * x, training=True)
    assert int(loaded.batches) == 9
    assert np.array_equal(before, ops.convert_to_numpy(loaded.ranges))  # frozen


def test_ranges_are_moving_averages_after_the_warm_up(x):
    qat = kgated.quantize_aware(classifier(), warmup=2, momentum=0.5)
    row = qat.points.index(next(name for name in qat.points if name.startswith("input/")))
    maxima = []
    for factor in (1.0, 3.0, 1.0):
        qat(factor * x, training=True)
        maxima.append(float(qat.ranges[row, 1]))
    top = x.max()
    assert np.allclose(maxima, [top, 3 * top, 2 * top], rtol=1e-5)


def test_zeros_and_shared_values_stay(x, rng):
    model = classifier()
    cell = model.get_layer("cell").cell
    values = cell.kernel.numpy()
    cell.kernel.assign(np.where(np.abs(values) < 0.3, 0.0, values))
    kgated.cluster(model, 8)
    qat = kgated.quantize_aware(model)
    qat.compile("adam", "mse", run_eagerly=True)
    qat.fit(x, rng.normal(size=(len(x), 3)), epochs=2, verbose=0)
    after = qat.inner.get_layer("cell").cell.kernel.numpy()
    assert np.unique(after).size <= 8
    assert np.array_equal(after == 0, np.abs(values) < 0.3)
    assert not np.array_equal(after, cell.kernel.numpy())
    schedule = kgated.optimize.ConstantSparsity(0.5, begin_step=0, frequency=1)
    pruned = kgated.quantize_aware(classifier())
    pruned.compile("adam", "mse", run_eagerly=True)
    callback = kgated.prune(pruned, schedule)
    pruned.fit(x, rng.normal(size=(len(x), 3)), epochs=2, verbose=0, callbacks=[callback])
    assert min(kgated.sparsity(pruned).values()) > 0.45


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kgated.quantize_aware(classifier(), "int4"), "`scheme`.*int8.*int4"),
        (lambda: kgated.quantize_aware(classifier(), momentum=1.5), "`momentum`.*1.5"),
        (lambda: kgated.quantize_aware(classifier(), warmup=0), "`warmup`.*0"),
        (
            lambda: kgated.quantize_aware(
                classifier(keras.layers.LayerNormalization(name="ln")), "int16x8"
            ),
            r"layer `ln` \(LayerNormalization\)",
        ),
        (
            lambda: kgated.quantize_aware(classifier(kgated.LSTM(4, layer_norm=True, name="n"))),
            "`n`.*layer_norm",
        ),
        (
            lambda: kgated.quantize_aware(classifier(kgated.LSTM(4, "gelu", name="d"))),
            "`d`.*gelu",
        ),
        (lambda: kgated.quantize_aware(keras.Sequential([kgated.LSTM(4)])), "built"),
        (lambda: kgated.quantize_aware(carry_state(classifier(SEQUENCE), 2)), "carries its state"),
        (lambda: carry_state(kgated.quantize_aware(classifier(SEQUENCE)), 2), "starts each batch"),
        (lambda: kgated.quantize_aware(kgated.quantize_aware(classifier())), "already"),
    ],
)
def test_what_is_refused_is_named(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "Exception encountered" not in str(caught.value)


def test_a_file_needs_kgated(x, tmp_path):
    path = tmp_path / "q.keras"
    kgated.quantize_aware(classifier()).save(path)
    code = f"import keras; keras.saving.load_model({str(path)!r})"
    light = {**os.environ, "KERAS_BACKEND": "numpy"}  # it imports in a second
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=light)
    assert done.returncode != 0
    assert "QuantizeAware" in done.stderr
    assert "kgated" in done.stderr
