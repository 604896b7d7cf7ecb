"""Whole models with the builtin LSTM operator, from Keras to files of each recipe."""

import keras
import numpy as np
import pytest
from kgated_edge import SequenceModel
from micro_runtime import check_in_micro
from model_builders import sequential
from registry import randomized
from tflite_files import left_in_float, operator_names

import kgated
from kgated.errors import ConversionError

TIME, FEATURES = 9, 5
X_SHAPE = (8, TIME, FEATURES)


def heard_both_ways():
    both = keras.layers.Bidirectional(kgated.PeepholeLSTM(4, return_sequences=True), name="both")
    last = keras.layers.LSTM(4, go_backwards=True, name="last")
    return [both, last, keras.layers.Dense(3)]


LIMITS = {"none": 1e-5, "float16": 1e-3, "dynamic": 0.05, "int8": 0.1}


@pytest.mark.parametrize("how", LIMITS)
def test_models_with_fused_layers_convert(how, x, rng, tmp_path):
    model = randomized(sequential(*heard_both_ways()), rng)
    path, options = tmp_path / "m.tflite", {"mode": "sequence", "length": TIME, "calibration": x}
    kgated.to_tflite(model, path, quantize=how, lowering="fused", **options)
    results = np.stack([SequenceModel(path).run(sequence) for sequence in x])
    expected = np.asarray(model(x))
    assert np.abs(results - expected).max() < LIMITS[how]
    assert np.abs(results - np.asarray(model(x[:, ::-1]))).max() > LIMITS[how]
    assert operator_names(path.read_bytes()).count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 3
    if how == "int8":
        assert left_in_float(path.read_bytes()) == []


def test_skip_keeps_a_fused_layer_in_float(x, rng, tmp_path):
    model = randomized(sequential(*heard_both_ways()), rng)
    options = {"mode": "sequence", "length": TIME, "calibration": x, "lowering": "fused"}
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", skip=["both"], **options)
    left = left_in_float((tmp_path / "m.tflite").read_bytes())
    assert left.count("UNIDIRECTIONAL_SEQUENCE_LSTM") == 2


def test_microcontrollers_run_a_whole_sequence(x, rng, tmp_path):
    layers = [kgated.LSTM(4, return_sequences=True), keras.layers.Dense(3)]
    model = randomized(sequential(*layers), rng)
    options = {"mode": "sequence", "length": TIME, "calibration": x, "lowering": "fused"}
    kgated.to_tflite(model, tmp_path / "m.tflite", quantize="int8", target="mcu", **options)
    check_in_micro(tmp_path / "m.tflite")
    header = (tmp_path / "m.h").read_text()
    assert "resolver.AddUnidirectionalSequenceLSTM()" in header
    assert f"k_in_frames = {{0, -1, {TIME * FEATURES}, " in header
    assert f"k_out_output = {{-1, 0, {TIME * 3}, " in header


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([kgated.GRU(4, name="mine")], {"length": TIME}, "`mine`.*no builtin operator"),
        ([kgated.LSTM(4, name="mine")], {"max_length": TIME}, "`mine`.*a mask"),
        ([keras.layers.Masking(), kgated.LSTM(4, name="mine")], {"length": TIME}, "`mine`.*a mask"),
    ],
    ids=["GRU", "padded", "Masking"],
)
def test_whole_models_that_it_does_not_compute_are_refused(layers, options, message, rng, tmp_path):
    model = randomized(sequential(*layers), rng)
    with pytest.raises(ConversionError, match=message):
        kgated.to_tflite(model, tmp_path / "m.tflite", mode="sequence", lowering="fused", **options)
    assert list(tmp_path.iterdir()) == []
