"""Layer normalization in integers."""

import keras
import numpy as np
import pytest

import kgated
from kgated.deploy.quantization.range_rules import clamp_rsqrt_ranges
from kgated.deploy.recipe import QUANTIZATIONS


@pytest.mark.parametrize("quantize", ["int8", "int16x8"])
@pytest.mark.parametrize("layer", [kgated.LSTM, kgated.PeepholeLSTM])
def test_silence_leaves_the_other_frames_their_digits(layer, quantize, rng, tmp_path, in_process):
    """A frame without variance has an inverse of 10,000, beside ones near 1."""
    model = keras.Sequential([keras.Input((None, 6)), layer(8, layer_norm=True)])
    x = rng.normal(size=(8, 12, 6)).astype(np.float32)
    x[:, :6] = 0.0
    made = kgated.to_tflite(model, tmp_path / "m.tflite", quantize=quantize, calibration=x)
    assert made.agreement.max_abs_error < QUANTIZATIONS[quantize].limit / 3


def test_an_inverse_reaches_no_farther_than_the_least_variance(in_process):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
    def inverse(x):
        return {"y": tf.math.rsqrt(x)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions([inverse.get_concrete_function()])
    tflite = converter.convert()
    from kgated.deploy.tflite import flatbuffer

    model = flatbuffer.parse(tflite)
    graph = model.subgraphs[0]
    (operator,) = graph.operators
    variance, result = (
        flatbuffer.tensor_name(graph.tensors[n[0]]) for n in (operator.inputs, operator.outputs)
    )
    seen = {
        variance: {"min": np.array([0.0]), "max": np.array([4.0])},
        result: {"min": np.array([0.5]), "max": np.array([1e4])},
    }
    found = clamp_rsqrt_ranges(model, seen, 8)
    assert found[result]["max"] == pytest.approx((255 / 4) ** 0.5)
    assert found[variance] == seen[variance]
    seen[result]["max"][:] = 3.0  # what all frames give is kept
    assert clamp_rsqrt_ranges(model, seen, 8)[result]["max"] == 3.0
