"""Quantization-aware convolutions over several frames: the bias stays in the convolution."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceModel
from tflite_files import tensor_types

import kgated

TIME, FEATURES, UNITS = 8, 3, 4
L = keras.layers
LAYERS = {
    "strided": lambda: [L.Conv1D(5, 3, strides=2, padding="causal", activation="relu")],
    "same": lambda: [L.Conv1D(TIME, 3, padding="same")],  # as many channels as frames
    "pooled": lambda: [
        L.Conv1D(5, 3, padding="causal"),
        L.BatchNormalization(),
        L.ReLU(),
        L.MaxPooling1D(2),
    ],
    "depthwise": lambda: [L.DepthwiseConv1D(3, strides=2), L.ReLU()],
}


def learned(layers, x):
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers, L.GRU(UNITS), L.Dense(2)])
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    qat = kgated.quantize_aware(model, warmup=1)
    qat(x, training=True)
    return qat


@pytest.mark.parametrize(
    ("name", "mode"),
    [*((name, "sequence") for name in LAYERS), ("strided", "stream"), ("pooled", "stream")],
)
def test_a_convolution_before_a_recurrent_layer_gives_the_numbers_of_the_training(
    name, mode, rng, tmp_path
):
    x = rng.normal(size=(8, TIME, FEATURES)).astype(np.float32)
    qat, path = learned(LAYERS[name](), x), tmp_path / "m.tflite"
    options = {"length": TIME} if mode == "sequence" else {}
    kgated.to_tflite(qat, path, mode=mode, quantize="int8", **options)
    assert "float32" not in tensor_types(path.read_bytes())
    edge = SequenceModel(path) if mode == "sequence" else EdgeModel(path)
    results = []
    for sequence in x:
        if mode == "stream":
            edge.reset()
        results.append(edge.run(sequence).reshape(-1, 2)[-1])
    off = np.abs(np.stack(results) - np.asarray(qat(x))) / edge.manifest.output.scale
    assert off.max() < 1.01
