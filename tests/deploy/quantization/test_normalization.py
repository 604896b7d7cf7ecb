"""Layer normalization in integers."""

import keras
import numpy as np
import pytest

import kgated
from kgated.deploy.recipe import QUANTIZATIONS


@pytest.mark.parametrize("quantize", ["int8", "int16x8"])
@pytest.mark.parametrize("layer", [kgated.LSTM, kgated.PeepholeLSTM])
def test_silent_frames_do_not_coarsen_the_scale_of_the_others(layer, quantize, rng, tmp_path):
    """A frame without variance has an inverse of 10,000, beside ones near 1."""
    model = keras.Sequential([keras.Input((None, 6)), layer(8, layer_norm=True)])
    x = rng.normal(size=(8, 12, 6)).astype(np.float32)
    x[:, :6] = 0.0
    conversion = kgated.to_tflite(model, tmp_path / "m.tflite", quantize=quantize, calibration=x)
    assert conversion.agreement.max_abs_error < QUANTIZATIONS[quantize].limit / 3
