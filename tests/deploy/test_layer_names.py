"""Names of layers that Keras takes on any backend, and TensorFlow not as the name of a scope."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

import kgated


@pytest.mark.parametrize("name", ["my layer", "_hidden", "Schicht ä (2)"])
def test_a_layer_of_any_name_converts_and_can_be_skipped(name, rng, tmp_path):
    layer = kgated.GRU(4, name=name, return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(2, name="a b")])
    x = rng.normal(size=(1, 6, 3)).astype(np.float32)
    expected = np.asarray(model(x))[0]
    kgated.to_tflite(model, tmp_path / "m.tflite")
    edge = EdgeModel(tmp_path / "m.tflite")
    np.testing.assert_allclose(edge.run(x[0]), expected, atol=1e-5)
    assert not edge.manifest.states[0].name.startswith("_")
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="dynamic", skip=[name])
    np.testing.assert_allclose(EdgeModel(tmp_path / "m.tflite").run(x[0]), expected, atol=0.02)
