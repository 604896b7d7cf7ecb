"""Models of users who set a dtype policy for all layers: the file is float32, and exact."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceModel

import kgated

TIME, FEATURES = 6, 3
L = keras.layers


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16", "float64"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def built():
    x = keras.Input((None, FEATURES))
    y = L.LSTM(4, return_sequences=True)(x)
    return keras.Model(x, L.Dense(2)(L.Add()([L.LayerNormalization()(y), y])))


def in_float32(model):
    """The same weights in a model that computes in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    copy = built()
    keras.config.set_dtype_policy(before)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.parametrize("mode", ["stream", "sequence"])
def test_the_file_computes_in_float32_what_the_model_computes(mode, policy, rng, tmp_path):
    model, path = built(), tmp_path / "m.tflite"
    options = {"length": TIME} if mode == "sequence" else {}
    conversion = kgated.to_tflite(model, path, mode=mode, **options)
    x = rng.normal(size=(TIME, FEATURES)).astype(np.float32)
    results = (EdgeModel(path) if mode == "stream" else SequenceModel(path)).run(x)
    wanted = np.asarray(in_float32(model)(x[None]))[0]
    np.testing.assert_allclose(results, wanted, atol=1e-5)
    (note,) = conversion.notes
    assert policy in note
    assert "float32" in note
    assert keras.config.dtype_policy().name == policy


def test_quantization_aware_training_starts_from_it_too(policy, rng, tmp_path):
    x = rng.normal(size=(8, 3, FEATURES)).astype(np.float32)
    qat = kgated.quantize_aware(built())
    qat.compile("sgd", "mse", run_eagerly=True)  # for one batch it takes less time
    qat.fit(x, np.zeros((8, 3, 2), np.float32), verbose=0)
    kgated.to_tflite(qat, tmp_path / "m.tflite", mode="stream", quantize="int8")
