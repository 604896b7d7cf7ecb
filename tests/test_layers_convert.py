"""The contract, continued: every row converts into a file that agrees with Keras."""

import keras
import pytest
from registry import FEATURES, ROWS, inputs

import kgated


@pytest.fixture(params=ROWS, ids=str)
def row(request):
    return request.param


def test_file_agrees_with_keras(row, rng, tmp_path):
    layer = row.build(rng, return_sequences=True)
    model = keras.Sequential([keras.Input((None, FEATURES)), layer, keras.layers.Dense(2)])
    path = tmp_path / "model.tflite"
    x = inputs(rng, time=6)
    conversion = kgated.to_tflite(
        model, path, quantize="none", calibration=x
    )  # raises on disagreement
    assert path.stat().st_size == conversion.file_bytes
    assert conversion.agreement.max_abs_error <= 1e-5 * max(
        1.0, conversion.agreement.largest_output
    )
    assert [s.shape for s in conversion.manifest.states] == [(n,) for n in layer.state_size]
