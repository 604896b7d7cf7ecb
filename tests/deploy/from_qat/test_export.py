"""Quantization-aware models as files: the same numbers, no calibration, no float operator."""

import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceModel
from micro_runtime import check_in_micro
from tflite_files import tensor_types

import kgated
from kgated.errors import ConversionError
from kgated.optimize.qat.forward import ForwardState

FEATURES, UNITS = 5, 8
WITH_PEEPHOLES = {"peephole_initializer": "glorot_uniform"}
FULL = {**WITH_PEEPHOLES, "peephole": "full", "output_peephole": "previous"}
EACH = {"return_sequences": True}
# Layers are made in the test, after it has set the seed: Keras draws an initializer's own seed when
# the layer is made. The first weights decide how many values lie on the edge between two integers.
STACKS = {
    "LSTM": lambda: [
        keras.layers.LSTM(UNITS, **EACH),
        kgated.LSTM(UNITS, coupled_gates=True, projection_units=6, use_bias=False, **EACH),
    ],
    "PeepholeLSTM": lambda: [
        kgated.PeepholeLSTM(UNITS, **EACH, peephole_initializer=keras.initializers.Constant(0.3)),
        kgated.PeepholeLSTM(UNITS, **EACH, **FULL),
    ],
    "GRU": lambda: [
        kgated.GRU(UNITS, **EACH),
        keras.layers.GRU(UNITS, **EACH),  # with the reset gate after the product
    ],
    "products": lambda: [
        keras.layers.Conv1D(6, 3, padding="causal"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Dense(6),
        keras.layers.BatchNormalization(),
        keras.layers.Activation("tanh"),
        keras.layers.Dense(6, activation="relu"),
        keras.layers.Dropout(0.2),
        kgated.GRU(UNITS, **EACH),
    ],
}


# Sequences that wander, as real ones do: (14, 6, FEATURES).
X = np.cumsum(0.5 * np.random.default_rng(0).normal(size=(14, 6, FEATURES)), axis=1)
X = X.astype(np.float32)


@pytest.fixture
def x():
    return X.copy()


def stacked(*layers, shape=(None, FEATURES), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def learned(model, x, scheme="int8"):
    """The model quantization-aware, with weights off their initial zeros and ranges learned."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    qat = kgated.quantize_aware(model, scheme, warmup=1)
    qat(x, training=True)
    return qat


def in_steps(qat, path, x):
    """How many steps of the output's scale the file is away from the model, for each result."""
    edge = EdgeModel(path)
    results = []
    for sequence in x:
        edge.reset()
        results.append(edge.run(sequence))
    return np.abs(np.stack(results) - np.asarray(qat(x))) / edge.manifest.output.scale


def as_function(qat):
    """The model's call for long sequences, which TensorFlow would take long for, op by op."""
    import tensorflow as tf

    return tf.function(lambda x: qat(x, training=False), autograph=False)


@pytest.mark.parametrize("name", STACKS)
def test_a_stream_gives_the_numbers_of_the_training(name, x, tmp_path):
    qat = learned(stacked(*STACKS[name](), keras.layers.Dense(3)), x)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(qat, path, quantize="int8", calibration=x)
    assert "float32" not in tensor_types(path.read_bytes())
    off = in_steps(qat, path, np.concatenate([x, 2 * x]))  # some of it beyond the ranges
    assert np.mean(off < 1.01) >= 0.999
    assert np.mean(off < 0.01) >= 0.99


@pytest.mark.slow
def test_16_bits_give_the_numbers_of_the_training_for_a_thousand_steps(x, tmp_path):
    layers = partial(kgated.PeepholeLSTM, **WITH_PEEPHOLES), keras.layers.GRU
    qat = learned(
        stacked(*(layer(UNITS, **EACH) for layer in layers), keras.layers.Dense(3)), x, "int16x8"
    )
    path = tmp_path / "m.tflite"
    kgated.to_tflite(qat, path, quantize="int16x8")
    assert "float32" not in tensor_types(path.read_bytes())
    long = np.random.default_rng(2).normal(size=(1, 1000, FEATURES)).astype(np.float32)
    off = in_steps(as_function(qat), path, long)
    assert np.mean(off < 1.01) >= 0.999
    assert np.mean(off < 0.01) >= 0.99
    # Float32, as in training, is a step off now and then; that it shows is the point of the rest.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgated.optimize.qat.model.has_float64", lambda: False)
        parts = long.reshape(4, 250, FEATURES)
        assert np.mean(in_steps(as_function(qat), path, parts) < 1.01) < 0.999


@pytest.fixture(scope="module")
def lstm(tmp_path_factory):
    """A small trained LSTM, and its file; a test that changes the model sets it back."""
    keras.utils.set_random_seed(20)
    qat = learned(stacked(kgated.LSTM(UNITS, name="cell", **EACH), keras.layers.Dense(3)), X)
    path = tmp_path_factory.mktemp("lstm") / "m.tflite"
    kgated.to_tflite(qat, path, quantize="int8")  # no calibration
    return qat, path


def test_the_measure_sees_a_wrong_scale_swapped_gates_a_missing_quantizer(lstm, x, monkeypatch):
    qat, path = lstm
    assert np.mean(in_steps(qat, path, x) < 1.01) >= 0.999
    ranges = qat.ranges.numpy()
    row = qat.points.index("cell/hR")
    wrong = ranges.copy()
    wrong[row] *= 0.5
    qat.ranges.assign(wrong)
    assert np.mean(in_steps(qat, path, x) < 1.01) < 0.999
    qat.ranges.assign(ranges)
    cell = qat.inner.get_layer("cell").cell
    kernel = cell.kernel.numpy()
    cell.kernel.assign(np.roll(kernel, UNITS, axis=1))
    assert np.mean(in_steps(qat, path, x) < 1.01) < 0.999
    cell.kernel.assign(kernel)
    monkeypatch.setattr(ForwardState, "round", lambda self, x, params, accumulator=None: x)
    assert np.mean(in_steps(qat, path, x) < 1.01) < 0.999


@pytest.mark.slow
def test_a_stream_does_not_drift(lstm, rng):
    qat, path = lstm
    x = rng.normal(size=(4, 1000, FEATURES)).astype(np.float32)
    edge, results = EdgeModel(path), []
    for sequence in x:
        edge.reset()
        results.append(edge.run(sequence))
    error = np.abs(np.stack(results) - qat.inner.predict(x, verbose=0)).mean(axis=(0, 2))
    assert error[-100:].mean() <= 2 * error[50:150].mean()


WHOLE = {
    "GRU": lambda: [kgated.GRU(UNITS, **EACH), keras.layers.GRU(UNITS, **EACH)],
    "both ways": lambda: [
        keras.layers.Bidirectional(kgated.LSTM(UNITS, **EACH)),
        keras.layers.Bidirectional(keras.layers.GRU(UNITS)),  # the last output alone
    ],
    "masked": lambda: [
        keras.layers.Masking(),
        kgated.PeepholeLSTM(6, **WITH_PEEPHOLES, **EACH),
        keras.layers.Bidirectional(kgated.GRU(6, reset_after=True, **EACH)),
    ],
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_sequence_gives_the_numbers_of_the_training(name, x, tmp_path):
    masked = name == "masked"
    if masked:
        x[3, 4:], x[4, 2:4] = 0.0, 0.0
    shape = (None if masked else 6, FEATURES)
    qat = learned(stacked(*WHOLE[name](), keras.layers.Dense(3), shape=shape), x)
    path = tmp_path / "m.tflite"
    size = {"max_length": 6} if masked else {}
    kgated.to_tflite(qat, path, mode="sequence", quantize="int8", calibration=x, **size)
    edge = SequenceModel(path)
    steps_off = []
    for length in (1, 4, 6) if masked else (6,):
        results = np.stack([edge.run(sequence[:length]) for sequence in x])
        error = np.abs(results - np.asarray(qat(x[:, :length])))
        steps_off.append(np.ravel(error / edge.manifest.outputs[0].scale))
    off = np.concatenate(steps_off)
    assert np.mean(off < 1.01) >= 0.999
    assert np.mean(off < 0.01) >= 0.99
    # A mask asks for exact zeros, which only the frames themselves answer.
    assert ("float32" in tensor_types(path.read_bytes())) == masked


@pytest.mark.slow
def test_what_jax_trained_is_converted_here(x, tmp_path):
    pytest.importorskip("jax", reason="jax is not installed: training there was NOT converted here")
    np.save(tmp_path / "x.npy", x)
    code = """
import keras, kgated, numpy as np
x = np.load("x.npy")
layers = [keras.Input((None, x.shape[-1])), kgated.GRU(6, return_sequences=True)]
qat = kgated.quantize_aware(keras.Sequential([*layers, keras.layers.Dense(3)]), warmup=1)
qat.compile("sgd", "mse")
qat.fit(x, np.ones((*x.shape[:2], 3)), verbose=0)
qat.save("q.keras")
"""
    jax = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=jax)
    qat = keras.saving.load_model(tmp_path / "q.keras")
    kgated.to_tflite(qat, tmp_path / "m.tflite", quantize="int8")
    assert in_steps(qat, tmp_path / "m.tflite", x).max() < 1.01


def test_a_batch_and_a_microcontroller_get_the_same_numbers(lstm, x, tmp_path):
    qat, _ = lstm
    batch, single = tmp_path / "batch.tflite", tmp_path / "mcu.tflite"
    kgated.to_tflite(qat, batch, quantize="int8", batch=len(x))
    edge = EdgeModel(batch)
    results = np.stack([edge.step(frames) for frames in x.swapaxes(0, 1)], axis=1)
    assert np.abs(results - np.asarray(qat(x))).max() < 1.01 * edge.manifest.output.scale
    kgated.to_tflite(qat, single, quantize="int8", target="mcu")
    check_in_micro(single)
    assert in_steps(qat, single, x).max() < 1.01


def test_options_that_exclude_each_other_are_refused(lstm, x, tmp_path):
    qat, _ = lstm
    path = tmp_path / "other.tflite"
    with pytest.raises(
        ValueError, match=r"must be 'int8', what `model` was trained for\.*.*'int16x8'"
    ):
        kgated.to_tflite(qat, path, quantize="int16x8", calibration=x)
    with pytest.raises(ValueError, match=r"`skip`.*model\.inner"):
        kgated.to_tflite(qat, path, quantize="int8", skip=["cell"])
    with pytest.raises(ValueError, match=r"needs `calibration`.*kgated\.quantize_aware"):
        kgated.to_tflite(qat.inner, path, quantize="int8")
    with pytest.raises(ValueError, match="learned no ranges yet"):
        kgated.to_tflite(kgated.quantize_aware(qat.inner), path, quantize="int8")
    assert not path.exists()


def test_a_pooling_that_no_stream_of_integers_has_names_ways_out_that_work(x, tmp_path):
    """The message named `skip` and another recipe, which a trained model refuses."""
    keras.utils.set_random_seed(4)
    layers = [kgated.GRU(3, **EACH), keras.layers.GlobalAveragePooling1D(name="mean")]
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers])
    qat, path = kgated.quantize_aware(model), tmp_path / "m.tflite"
    qat.compile("sgd", "mse")
    qat.fit(x, np.asarray(model(x)), batch_size=2, verbose=0)
    with pytest.raises(ConversionError, match=r"mode='sequence'.*model\.inner.*skip=\['mean'\]"):
        kgated.to_tflite(qat, path, quantize="int8")
    kgated.to_tflite(qat, path, quantize="int8", mode="sequence", length=x.shape[1])
    step = SequenceModel(path).manifest.output.scale
    assert np.abs(SequenceModel(path).run(x[0]) - np.asarray(qat(x))[0]).max() < 1.01 * step
    options = {"calibration": x, "skip": ["mean"]}
    kgated.to_tflite(qat.inner, path, quantize="int8", **options)
    assert np.abs(EdgeModel(path).run(x[0])[-1] - np.asarray(qat.inner(x))[0]).max() < 0.05


def test_outputs_by_name_train_with_losses_by_name(x, tmp_path):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((None, FEATURES))
    h = kgated.GRU(3, **EACH)(inputs)
    heads = {"word": keras.layers.Dense(2)(h), "angle": keras.layers.Dense(1)(h)}
    qat, path = kgated.quantize_aware(keras.Model(inputs, heads)), tmp_path / "m.tflite"
    qat.compile("sgd", {"word": "mse", "angle": "mae"})
    qat.fit(x, qat.inner(x), batch_size=2, verbose=0)
    trained = {name: np.asarray(y) for name, y in qat(x).items()}
    assert {name: y.shape[-1] for name, y in trained.items()} == {"word": 2, "angle": 1}
    kgated.to_tflite(qat, path, quantize="int8")
    edge = EdgeModel(path)
    results = edge.run(x[0])
    for spec in edge.manifest.outputs:
        assert np.abs(results[spec.name] - trained[spec.name][0]).max() < 1.01 * spec.scale
