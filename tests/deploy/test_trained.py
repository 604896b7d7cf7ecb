"""Quantization-aware models as files: the same numbers, no calibration, no float operator."""

import keras
import numpy as np
import pytest
from kgated_edge import EdgeModel

import kgated
from kgated.deploy import flatbuffer

FEATURES, UNITS = 5, 16
AS_KERAS = {"reset_after": True, "update_gate": "state"}
CELLS = {
    "LSTM": (kgated.LSTM, {}),
    "coupled": (kgated.LSTM, {"coupled_gates": True}),
    "projected": (kgated.LSTM, {"projection_units": 6}),
    "no bias": (kgated.LSTM, {"use_bias": False}),
    "PeepholeLSTM": (kgated.PeepholeLSTM, {"peephole_initializer": "normal"}),
    "full": (
        kgated.PeepholeLSTM,
        {
            "peephole": "full",
            "output_peephole": "previous",
            "peephole_initializer": "glorot_uniform",
        },
    ),
    "GRU": (kgated.GRU, {}),
    "GRU as Keras's": (kgated.GRU, AS_KERAS),
    "keras LSTM": (keras.layers.LSTM, {}),
    "keras GRU": (keras.layers.GRU, {}),
}


@pytest.fixture
def x(rng):
    """Sequences that wander, as real ones do: (16, 40, FEATURES)."""
    steps = rng.normal(size=(16, 40, FEATURES))
    return np.cumsum(0.3 * steps, axis=1).astype(np.float32)


def stacked(*layers, shape=(None, FEATURES), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def learned(model, x, scheme="int8"):
    """The model quantization-aware, with weights off their initial zeros and ranges learned."""
    rng = np.random.default_rng(1)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    qat = kgated.quantize_aware(model, scheme, warmup=1)
    qat(x, training=True)
    return qat


def in_steps(qat, path, x):
    """How many steps of the output's scale the file is away from the model, for each result."""
    edge = EdgeModel(path)
    found = []
    for sequence in x:
        edge.reset()
        found.append(edge.run(sequence))
    return np.abs(np.stack(found) - np.asarray(qat(x))) / edge.manifest.output.scale


def dtypes(path):
    model = flatbuffer.parse(path.read_bytes())
    return {
        flatbuffer.type_name(subgraph.tensors[n])
        for subgraph, operator in flatbuffer.operators(model)
        for n in (*operator.inputs, *operator.outputs)
        if n >= 0
    }


@pytest.mark.parametrize("name", CELLS)
def test_a_stream_gives_the_numbers_of_the_training(name, x, tmp_path, in_process):
    layer, options = CELLS[name]
    cell = layer(UNITS, return_sequences=True, name="cell", **options)
    qat = learned(stacked(cell, keras.layers.Dense(3)), x)
    path = tmp_path / "m.tflite"
    kgated.to_tflite(qat, path, quantize="int8", calibration=x)
    assert "float32" not in dtypes(path)
    off = in_steps(qat, path, np.concatenate([x, 2 * x]))  # some of it beyond the ranges
    assert np.mean(off < 1.01) >= 0.999
    assert np.mean(off < 0.01) >= 0.99
