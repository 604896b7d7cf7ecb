"""The minimal cells: all time steps at once equal the steps one by one, on files too."""

import keras
import numpy as np
import pytest
from keras import ops
from kgated_edge import open_model
from model_builders import classifier, spread
from registry import values

import kgated
from kgated.cells import linear_recurrence as scans
from kgated.deploy.recipe import QUANTIZATIONS

MINIMAL = [kgated.MinGRU, kgated.MinLSTM]
TENSORFLOW = keras.backend.backend() == "tensorflow"


def recurrence(factor, summand):
    """`h_t = factor_t∘h_{t-1} + summand_t` in float64, one step after the other."""
    h, states = np.zeros(factor[:, 0].shape), []
    for t in range(factor.shape[1]):
        h = factor[:, t].astype(np.float64) * h + summand[:, t]
        states.append(h)
    return np.stack(states, axis=1)


@pytest.mark.parametrize("frames", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize(
    "scan", ["linear_recurrence", "_associative_scan", "_doubling_scan", "_loop"]
)
def test_the_recurrence_equals_its_steps(rng, scan, frames):
    factor = rng.uniform(size=(2, frames, 3)).astype(np.float32)
    summand = rng.normal(size=(2, frames, 3)).astype(np.float32)
    states = values(getattr(scans, scan)(*map(ops.convert_to_tensor, (factor, summand))))
    np.testing.assert_allclose(states, recurrence(factor, summand), atol=1e-5)


@pytest.mark.parametrize("layer", MINIMAL, ids=lambda layer: layer.__name__)
def test_a_thousand_frames_in_parallel_equal_the_streamed_ones(layer, rng):
    x = rng.normal(size=(2, 1000, 5)).astype(np.float32)
    layer = layer(6, return_sequences=True)
    parallel = values(layer(x))
    streamed = keras.Sequential([keras.layers.RNN(layer.cell, return_sequences=True)])
    np.testing.assert_allclose(parallel, streamed.predict(x, verbose=0), atol=1e-5)


@pytest.mark.skipif(not TENSORFLOW, reason="converts in TensorFlow")
@pytest.mark.parametrize("recipe", QUANTIZATIONS)
@pytest.mark.parametrize("layer", MINIMAL, ids=lambda layer: layer.__name__)
def test_each_recipe_streams_what_keras_computes(layer, recipe, rng, tmp_path):
    x = rng.normal(size=(8, 9, 5)).astype(np.float32)
    model = spread(classifier(layer), rng)
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize=recipe, calibration=x)
    edge = open_model(tmp_path / "m.tflite")
    streamed = [edge.reset() or edge.run(sequence)[-1] for sequence in x]
    error = np.abs(np.asarray(model(x)) - streamed).max()
    assert error <= QUANTIZATIONS[recipe].limit / 2
    assert recipe == "none" or error > 1e-6  # it is quantized


@pytest.mark.skipif(not TENSORFLOW, reason="converts in TensorFlow")
@pytest.mark.parametrize("layer", MINIMAL, ids=lambda layer: layer.__name__)
def test_a_thousand_frames_on_the_runner_equal_the_parallel_ones(layer, rng, tmp_path):
    x = rng.normal(size=(1000, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((None, 5)), layer(6, return_sequences=True)])
    kgated.to_tflite(model, tmp_path / "m.tflite")
    streamed = open_model(tmp_path / "m.tflite").run(x)
    np.testing.assert_allclose(streamed, values(model(x[None]))[0], atol=1e-5)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("layer", MINIMAL, ids=lambda layer: layer.__name__)
def test_masks_and_states_are_those_of_the_loop_of_keras(layer, backwards, rng):
    x, h = rng.normal(size=(3, 9, 4)).astype(np.float32), rng.normal(size=(3, 5))
    mask = np.array([[0, 0, 1, 1, 0, 1, 1, 0, 0], [1] * 9, [0] * 9], bool)
    options = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    layer = layer(5, **options)
    state = [ops.convert_to_tensor(h.astype(np.float32))]
    parallel = layer(x, mask=mask, initial_state=state)
    stepwise = keras.layers.RNN(layer.cell, **options)(x, mask=mask, initial_state=state)
    for actual, reference in zip(parallel, stepwise, strict=True):
        np.testing.assert_allclose(values(actual), values(reference), atol=1e-6)


def regressor(*layers, frames, rng, input_frames=None):
    """A model with what it is to learn: the means of the sequences' features."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((input_frames, 4)), *layers, keras.layers.Dense(3)])
    x = rng.normal(size=(48, frames, 4)).astype(np.float32)
    return model, x, x.mean(axis=1)[:, :3]


@pytest.mark.parametrize("layer", MINIMAL, ids=lambda layer: layer.__name__)
def test_it_trains_on_sequences_of_unknown_length(layer, rng):
    model, x, y = regressor(layer(6, return_sequences=True), layer(5), frames=12, rng=rng)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = model.fit(x, y, epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.skipif(not TENSORFLOW, reason="trains and converts in TensorFlow")
@pytest.mark.parametrize(("layer", "scheme"), list(zip(MINIMAL, ["int8", "int16x8"], strict=True)))
def test_quantization_aware_training_gives_the_numbers_of_the_file(layer, scheme, rng, tmp_path):
    model, x, y = regressor(layer(6), frames=5, rng=rng, input_frames=5)
    qat = kgated.quantize_aware(model, scheme, warmup=1, freeze_at=3)
    qat.compile(keras.optimizers.Adam(1e-3), "mse", jit_compile=False)
    qat.fit(x, y, epochs=2, verbose=0)
    kgated.to_tflite(qat, tmp_path / "qat.tflite", quantize=scheme)
    edge = open_model(tmp_path / "qat.tflite")
    outputs = []
    for sequence in x[:8]:
        edge.reset()
        outputs.append(edge.run(sequence)[-1])
    expected = qat.predict(x[:8], verbose=0)
    step = edge.manifest.outputs[0].scale
    assert np.abs(np.stack(outputs) - expected).max() <= 1.01 * step
