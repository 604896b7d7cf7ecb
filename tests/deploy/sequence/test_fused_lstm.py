"""The builtin LSTM operator that we write, against Keras, the float64 oracle and itself in int8."""

import functools
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from registry import Row, randomized, weights_of
from tflite_files import left_in_float, operator_names

import kgated
from kgated.deploy.quantization.lstm.int8 import write_integer
from kgated.deploy.quantization.lstm.ranges import fused_ranges
from kgated.deploy.quantization.lstm.weights import write_half, write_hybrid
from kgated.deploy.quantization.quantize import quantize
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence import fused_lstm as fused_layer
from kgated.deploy.sequence.fused_lstm import FusedLSTM
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.lstm_operator import write_fused
from kgated.deploy.tflm import check_operators
from kgated.errors import ConversionError

TIME, FEATURES, UNITS = 9, 5, 8
ALL = {"coupled_gates": True, "projection_units": 3, "layer_norm": True}
ROWS = [
    Row(kgated.LSTM),
    Row(kgated.LSTM, {"use_bias": False}),
    Row(kgated.LSTM, {"coupled_gates": True}),
    Row(kgated.LSTM, {"projection_units": 3}),
    Row(kgated.LSTM, {"layer_norm": True}),
    Row(kgated.LSTM, {"layer_norm": True, "use_bias": False}),
    Row(kgated.LSTM, ALL),
    Row(kgated.PeepholeLSTM),
    Row(kgated.PeepholeLSTM, {"coupled_gates": True}),
    Row(kgated.PeepholeLSTM, ALL),
]
IN_INT8 = [row for row in ROWS if "layer_norm" not in row.options]


def frames(rng, batch=1, time=TIME):
    return rng.normal(size=(batch, time, FEATURES)).astype(np.float32)


def built(row, rng, **more):
    return row.build(rng, features=FEATURES, units=UNITS, **{"return_sequences": True, **more})


def fused_file(*layers, batch=1, time=TIME):
    """Layers after one another, the recurrent ones fused, converted in float."""
    frames = y = keras.Input((None, FEATURES))
    for layer in layers:
        y = FusedLSTM(layer)(y) if isinstance(layer, keras.layers.RNN) else layer(y)
    model = keras.Model(frames, y)
    trainable = [tf.constant(w.numpy()) for w in model.trainable_variables]
    others = [tf.constant(w.numpy()) for w in model.non_trainable_variables]

    @tf.function
    def call(frames):
        return {"output": model.stateless_call(trainable, others, frames, training=False)[0]}

    signature = call.get_concrete_function(tf.TensorSpec((batch, time, FEATURES), name="frames"))
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"serve": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        converter.allow_custom_ops = True
        model = flatbuffer.parse(bytes(converter.convert()))
        write_fused(model)
        return flatbuffer.pack(model)


@functools.cache
def converted(name):
    """The layer of a row and its file in float, once for every test that asks."""
    (row,) = (candidate for candidate in ROWS if str(candidate) == name)
    layer = built(row, np.random.default_rng(3))
    return layer, fused_file(layer)


def changed(tflite, write, *more):
    """The file after a pass over its objects and its layers."""
    file = FloatFile.from_bytes(tflite)
    write(file.model, file.layers, *more)
    return flatbuffer.pack(file.model)


def ranges_of(tflite, samples):
    return fused_ranges(FloatFile.from_bytes(tflite), samples)


def quantized(tflite, recipe, samples=()):
    return flatbuffer.pack(quantize(FloatFile.from_bytes(tflite), recipe, samples))


def mcu_operators(tflite):
    file = FloatFile.from_bytes(tflite)
    return check_operators(file.model, file.layers)


def runner(tflite):
    return Interpreter(model_content=tflite, num_threads=1).get_signature_runner("serve")


def run(tflite, x):
    return runner(tflite)(frames=x)["output"]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_float_equals_the_oracle_and_keras(row, rng):
    (layer, tflite), x = converted(str(row)), frames(rng)
    result = run(tflite, x)
    np.testing.assert_allclose(result, row.oracle(x, weights_of(layer))[0], atol=1e-5)
    np.testing.assert_allclose(result, layer(x), atol=1e-5)


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("go_backwards", [True, False])
def test_float_equals_keras_own_layer(return_sequences, go_backwards, rng):
    layer = keras.layers.LSTM(UNITS, return_sequences=return_sequences, go_backwards=go_backwards)
    layer.build((None, None, FEATURES))
    x = frames(rng)
    np.testing.assert_allclose(run(fused_file(randomized(layer, rng)), x), layer(x), atol=1e-5)


@pytest.mark.parametrize("order", ["figo", "igfo", "ifog"])
def test_a_swapped_gate_is_seen(order, rng, monkeypatch):
    layer, x = built(ROWS[0], rng), frames(rng)
    monkeypatch.setattr(fused_layer, "GATES", order)
    assert np.abs(run(fused_file(layer), x) - layer(x)).max() > 1e-2


def test_one_builtin_operator_and_no_custom_one():
    names = operator_names(converted(str(ROWS[0]))[1])
    assert names == ["ZEROS_LIKE", "ZEROS_LIKE", "UNIDIRECTIONAL_SEQUENCE_LSTM"]


def test_every_call_starts_from_zeros(rng):
    call, x = runner(converted(str(ROWS[0]))[1]), frames(rng)
    first = call(frames=x)["output"]
    assert np.abs(call(frames=x + 1.0)["output"] - first).max() > 0.01
    np.testing.assert_array_equal(call(frames=x)["output"], first)


def test_any_length_and_several_sequences_at_once(rng):
    layer, x = built(ROWS[0], rng), frames(rng, batch=3, time=4)
    np.testing.assert_allclose(run(fused_file(layer, time=None), x[:1]), layer(x[:1]), atol=1e-5)
    np.testing.assert_allclose(run(fused_file(layer, batch=3, time=4), x), layer(x), atol=1e-5)


def test_a_file_without_marks_stays_as_it_is(rng):
    model = flatbuffer.parse(fused_file(keras.layers.Dense(2)))
    before = flatbuffer.pack(model)
    write_fused(model)
    assert flatbuffer.pack(model) == before


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_hybrid_agrees(row, rng):
    (layer, tflite), x = converted(str(row)), frames(rng)
    hybrid = changed(tflite, write_hybrid)
    error = np.abs(run(hybrid, x) - layer(x)).max()
    assert 1e-5 < error < 0.1
    weights = [tensor["dtype"] for tensor in Interpreter(model_content=hybrid).get_tensor_details()]
    assert weights.count(np.int8) >= 6


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_half_precision_agrees(row, rng):
    (layer, tflite), x = converted(str(row)), frames(rng)
    half = changed(tflite, write_half)
    error = np.abs(run(half, x) - layer(x)).max()
    assert 1e-6 < error < 1e-2
    kinds = [tensor["dtype"] for tensor in Interpreter(model_content=half).get_tensor_details()]
    assert kinds.count(np.float16) >= 6


def test_microcontrollers_take_fixed_sizes_alone(rng):
    tflite = fused_file(converted(str(ROWS[0]))[0], time=None)
    with pytest.raises(ConversionError, match="fixed number of frames"):
        mcu_operators(tflite)


@pytest.mark.parametrize("row", IN_INT8, ids=str)
def test_int8_agrees(row, rng):
    (layer, tflite), samples = converted(str(row)), [{"frames": frames(rng)} for _ in range(8)]
    call = runner(changed(tflite, write_integer, ranges_of(tflite, samples)))
    errors = [np.abs(call(**sample)["output"] - layer(sample["frames"])) for sample in samples]
    assert 1e-5 < np.max(errors) < 0.1
    assert np.mean(errors) < 0.02


def test_ranges_hold_what_the_layer_computes(rng):
    (layer, tflite), x = converted(str(ROWS[7])), frames(rng)
    (ranges,) = ranges_of(tflite, [{"frames": x}]).values()
    states = [layer.cell.step(x[:, 0], [np.zeros((1, UNITS), np.float32)] * 2)[1]]
    for n in range(1, TIME):
        states.append(layer.cell.step(x[:, n], states[-1])[1])
    h, c = (np.array([state[k] for state in states]) for k in (0, 1))
    for measured, values in ((ranges.x, x), (ranges.h, h), (ranges.c, c)):
        np.testing.assert_allclose(measured, (values.min(), values.max()), rtol=1e-5)


def two_lstms(rng):
    """Two fused layers and a Dense in float, and samples to quantize on."""
    first, second = built(ROWS[0], rng), kgated.LSTM(UNITS, return_sequences=True, name="second")
    second.build((None, None, UNITS))
    dense = keras.layers.Dense(2)
    tflite = fused_file(first, second, dense)
    return tflite, [{"frames": frames(rng)} for _ in range(8)]


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors:UserWarning")
def test_the_quantizer_also_quantizes_fused_layers(rng):
    tflite, samples = two_lstms(rng)
    integer_file = quantized(tflite, Recipe(quantize="int8"), samples)
    assert left_in_float(integer_file) == []
    assert operator_names(integer_file) == [
        *["SUB", "SUB", "UNIDIRECTIONAL_SEQUENCE_LSTM"] * 2,
        "FULLY_CONNECTED",
    ]
    part = quantized(tflite, Recipe(quantize="int8", skip=("second",)), samples)
    assert left_in_float(part) == ["ZEROS_LIKE", "ZEROS_LIKE", "UNIDIRECTIONAL_SEQUENCE_LSTM"]
    dynamic, half = (quantized(tflite, Recipe(quantize=name)) for name in ("dynamic", "float16"))
    assert "DEQUANTIZE" in operator_names(half)
    assert len(integer_file) < len(tflite)
    assert len(dynamic) < 0.7 * len(tflite)


def test_int16x8_is_refused_for_fused_layers(rng):
    tflite, samples = two_lstms(rng)
    with pytest.raises(ConversionError, match=r"int16x8.*fused LSTM of .*second.*lowering="):
        quantized(tflite, Recipe(quantize="int16x8"), samples)


@pytest.mark.parametrize("row", IN_INT8, ids=str)
def test_microcontrollers_run_the_plain_cell_alone(row):
    layer, tflite = converted(str(row))
    x = np.ones((1, TIME, FEATURES), np.float32)
    integer_file = changed(tflite, write_integer, ranges_of(tflite, [{"frames": x}]))
    if set(row.options) <= {"use_bias"} and row.layer is kgated.LSTM:
        assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in mcu_operators(integer_file)
    else:
        with pytest.raises(ConversionError, match=f"`{layer.name}` has [pc]"):
            mcu_operators(integer_file)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (kgated.LSTM(4, activation="relu"), "`activation`"),
        (kgated.LSTM(4, recurrent_activation="hard_sigmoid"), "`recurrent_activation`"),
        (kgated.PeepholeLSTM(4, peephole="full"), "full"),
        (kgated.PeepholeLSTM(4, output_peephole="previous"), "previous"),
        (kgated.LSTM(4, stateful=True), "stateful"),
        (kgated.LSTM(4, return_state=True), "return_state"),
        (kgated.GRU(4), "no builtin operator"),
        (keras.layers.GRU(4), "no builtin operator"),
        (keras.layers.SimpleRNN(4), "no builtin operator"),
    ],
)
def test_what_the_operator_does_not_compute_is_refused_by_name(layer, reason):
    layer.build((2, None, FEATURES))
    with pytest.raises(ConversionError, match=f"`{layer.name}`.*{reason}.*lowering="):
        FusedLSTM(layer)


def test_int8_with_layer_norm_is_refused_by_name(rng):
    layer, tflite = converted(str(ROWS[4]))
    ranges = ranges_of(tflite, [{"frames": frames(rng)}])
    with pytest.raises(ConversionError, match=f"`{layer.name}` has `layer_norm=True`"):
        changed(tflite, write_integer, ranges)
