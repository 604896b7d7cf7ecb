"""Biases of channels whose weights are zero, as of pruned units: they fit into their integers."""

import keras
import numpy as np
import pytest
from kgated_edge import open_model

import kgated

BIAS = 3.0


@pytest.mark.parametrize(("recipe", "limit"), [("int8", 0.05), ("int16x8", 0.01)])
def test_bias_of_a_channel_without_weights_is_exact(recipe, limit, tmp_path):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(16, 4, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Dense(4), keras.layers.Dense(2)])
    kernel, bias = model.layers[0].kernel, model.layers[0].bias
    kernel.assign(kernel.numpy() * [0.0, 1.0, 1e-9, 1.0])
    bias.assign([BIAS, 0.1, -BIAS, 0.0])

    kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", quantize=recipe, calibration=x)

    expected = model.predict(x[:1], verbose=0)[0]
    measured = open_model(tmp_path / "m.tflite").run(x[0])
    np.testing.assert_allclose(measured, expected, atol=limit * np.abs(expected).max())
