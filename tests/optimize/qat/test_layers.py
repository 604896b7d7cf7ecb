"""Layers of quantization-aware models: their files compute the numbers of the model."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel, SequenceModel

import kgated

FEATURES, STEPS = 5, 5
layers = keras.layers
STREAMS = {
    "TimeDistributed": lambda: [layers.TimeDistributed(layers.Dense(6, "relu"))],
    "DepthwiseConv1D": lambda: [
        layers.ZeroPadding1D((2, 0)),
        layers.DepthwiseConv1D(3, depth_multiplier=2),
    ],
    "DepthwiseConv1D, normalized": lambda: [
        layers.ZeroPadding1D((2, 0)),
        layers.DepthwiseConv1D(3, depth_multiplier=2),
        layers.BatchNormalization(),
        layers.ReLU(),
    ],
    "LeakyReLU": lambda: [layers.Dense(6), layers.LeakyReLU(0.3)],
    "a table of 65,536": lambda: [layers.Dense(6, "gelu")],
}
INT8_STREAMS = {
    "activations": lambda: [
        layers.Dense(6, "gelu"),
        layers.ReLU(1.5, threshold=0.1),
        layers.Dense(6, "relu6"),
        layers.Dense(6),
        layers.ELU(0.7),
        layers.Activation("silu"),
    ],
    "PReLU": lambda: [layers.PReLU("glorot_uniform", shared_axes=[1])],
    "LayerNormalization": lambda: [
        layers.Dense(6),
        layers.LayerNormalization(),
        kgated.GRU(4, return_sequences=True),
    ],
    "LayerNormalization, no weights": lambda: [
        layers.LayerNormalization(center=False, scale=False, epsilon=1e-5)
    ],
    "RMSNormalization": lambda: [layers.RMSNormalization(), layers.Dense(6)],
}
CASES = [(name, scheme) for name in STREAMS for scheme in ("int8", "int16x8")]
CASES += [(name, "int8") for name in INT8_STREAMS]


@pytest.fixture
def x(rng):
    return np.cumsum(0.4 * rng.normal(size=(16, STEPS, FEATURES)), axis=1).astype(np.float32)


def trained(model, x, scheme, rng):
    """The model quantization-aware, its weights off their initial values, with learned ranges."""
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    qat = kgated.quantize_aware(model, scheme, warmup=1)
    qat(x, training=True)
    return qat


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_every_weight_of_a_layer_is_trained(name, scheme, x, rng):
    stack = [keras.Input((None, FEATURES)), *{**STREAMS, **INT8_STREAMS}[name](), layers.Dense(3)]
    qat = trained(keras.Sequential(stack), x[:, :3], scheme, rng)
    qat.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = [np.array(weight) for weight in qat.trainable_variables]
    qat.train_on_batch(x[:, :3], rng.normal(size=(16, 3, 3)).astype(np.float32))
    unchanged = [
        weight.path
        for weight, old in zip(qat.trainable_variables, before, strict=True)
        if np.array_equal(weight, old)
    ]
    assert not unchanged


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="files are made by TensorFlow")
@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_a_stream_computes_the_numbers_of_the_model(name, scheme, x, rng, tmp_path):
    stack = [keras.Input((None, FEATURES)), *{**STREAMS, **INT8_STREAMS}[name](), layers.Dense(3)]
    qat = trained(keras.Sequential(stack), x, scheme, rng)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(qat, path, quantize=scheme)
    edge = EdgeModel(path)
    results = []
    for sequence in x:
        edge.reset()
        results.append(edge.run(sequence))
    steps_off = np.abs(np.stack(results) - np.asarray(qat(x))) / edge.manifest.output.scale
    assert np.mean(steps_off < 1.01) >= 0.999
    assert np.mean(steps_off < 0.01) >= 0.99


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="files are made by TensorFlow")
def test_a_decoder_with_repeat_vector_computes_the_numbers_of_the_model(x, rng, tmp_path):
    stack = [
        keras.Input((STEPS, FEATURES)),
        kgated.GRU(6),
        layers.RepeatVector(4),
        kgated.GRU(6, return_sequences=True),
        layers.TimeDistributed(layers.Dense(3)),
    ]
    qat = trained(keras.Sequential(stack), x, "int8", rng)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(qat, path, mode="sequence", quantize="int8")
    edge = SequenceModel(path)
    results = np.stack([edge.run(sequence) for sequence in x])
    steps_off = np.abs(results - np.asarray(qat(x))) / edge.manifest.outputs[0].scale
    assert np.mean(steps_off < 1.01) >= 0.999
    assert np.mean(steps_off < 0.01) >= 0.99


def test_a_time_distributed_dense_takes_a_mask(x):
    stack = [keras.Input((None, FEATURES)), layers.Masking()]
    stack += [layers.TimeDistributed(layers.Dense(3, name="inner"), name="outer"), kgated.GRU(2)]
    model = keras.Sequential(stack)
    x[:, 3:] = 0.0
    qat = kgated.quantize_aware(model)
    assert np.array_equal(
        qat.inner.get_layer("outer").kernel, model.get_layer("outer").layer.kernel
    )
    expected = keras.ops.convert_to_numpy(model(x))
    assert np.abs(keras.ops.convert_to_numpy(qat(x)) - expected).max() < 0.02
