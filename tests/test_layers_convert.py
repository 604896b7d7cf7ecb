"""The contract, continued: every row converts into a file that agrees with Keras."""

import keras
import pytest
from registry import FEATURES, ROWS, UNITS, inputs

import kgated


@pytest.fixture(params=ROWS, ids=str)
def row(request):
    return request.param


def test_file_agrees_with_keras(row, rng, tmp_path):
    layers = [
        row.build(rng, return_sequences=True),
        row.build(rng, features=row.cell().output_size),
    ]
    model = keras.Sequential([keras.Input((None, FEATURES)), *layers, keras.layers.Dense(2)])
    path = tmp_path / "model.tflite"
    x = inputs(rng, batch=2, time=6)
    made = kgated.to_tflite(model, path, quantize="none", calibration=x)  # raises on disagreement
    assert path.stat().st_size == made.file_bytes
    assert made.agreement.max_abs_error <= 1e-5 * max(1.0, made.agreement.largest_output)
    assert [s.shape for s in made.manifest.states] == [
        (n,) for layer in layers for n in layer.state_size
    ]
    assert made.manifest.states[-1].shape == (UNITS,)
