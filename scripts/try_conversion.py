"""Converts a small model and compares it with Keras: run where kgated is installed from a wheel."""

import keras
import numpy as np
from kgated_edge import EdgeModel

import kgated

model = keras.Sequential(
    [keras.Input((None, 3)), kgated.PeepholeLSTM(4), keras.layers.Dense(2, activation="softmax")]
)
frames = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
expected = model.predict(frames[None], verbose=0)[0]
for quantize in ("none", "int8"):
    kgated.to_tflite(model, "tried.tflite", quantize=quantize, calibration=frames[None])
    edge = EdgeModel("tried.tflite")
    result = [edge.step(frame) for frame in frames][-1]
    np.testing.assert_allclose(result, expected, atol=1e-5 if quantize == "none" else 0.05)
    print(f"{quantize}: equals Keras")
