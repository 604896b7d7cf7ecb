"""The planted faults in the weights and biases of the fused LSTM operator."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from model_builders import spread
from planted_faults import int8_job

import kgated
from kgated.deploy.quantization import quantize
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.lstm_operator import H_STATE, LSTM_CODE, SLOTS
from kgated.errors import ConversionError

T, F = 6, 3
RECIPES = ("float16", "dynamic", "int8")
WRITERS = ("write_half", "write_hybrid", "write_integer")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """The job of a quantization in int8."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    model = spread(keras.Sequential([keras.Input((T, F)), kgated.LSTM(6)]), rng)
    x = rng.normal(size=(6, T, F)).astype(np.float32)
    path = tmp_path_factory.mktemp("m") / "m.tflite"
    return int8_job(model, path, x, mode="sequence", lowering="fused")


def lstm(model):
    """The graph and the operator of the fused LSTM."""
    return next(
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if model.operatorCodes[operator.opcodeIndex].builtinCode == LSTM_CODE
    )


def swap_gates(model):
    _, operator = lstm(model)
    for kind in ("input", "recurrent"):
        first, second = SLOTS[kind, "f"], SLOTS[kind, "o"]
        operator.inputs[[first, second]] = operator.inputs[[second, first]]


def drop_bias(model):
    _, operator = lstm(model)
    operator.inputs[SLOTS["bias", "o"]] = -1


def scale_weights(model):
    graph, operator = lstm(model)
    n = int(operator.inputs[SLOTS["recurrent", "g"]])
    for cast in graph.operators:
        if flatbuffer.operator_name(model, cast) == "DEQUANTIZE" and n in cast.outputs:
            n = int(cast.inputs[0])
    tensor = graph.tensors[n]
    if flatbuffer.type_name(tensor) == "float16":
        buffer = model.buffers[tensor.buffer]
        doubled = 2 * np.frombuffer(bytes(buffer.data), np.float16)
        buffer.data = np.frombuffer(doubled.tobytes(), np.uint8)
    else:
        tensor.quantization.scale = 2 * np.asarray(tensor.quantization.scale)


def scale_bias(model):
    graph, operator = lstm(model)
    bias = graph.tensors[operator.inputs[SLOTS["bias", "f"]]]
    values = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.int32) // 2
    model.buffers[bias.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    bias.quantization.scale = 2 * np.asarray(bias.quantization.scale)


def coarsen_result(model):
    graph, operator = lstm(model)
    parameters = graph.tensors[operator.outputs[0]].quantization
    parameters.scale = 4 * np.asarray(parameters.scale)


def narrow_result(model):
    graph, operator = lstm(model)
    parameters = graph.tensors[operator.outputs[0]].quantization
    parameters.scale = 0.25 * np.asarray(parameters.scale)


def untie_state(model):
    graph, operator = lstm(model)
    state = graph.tensors[operator.inputs[H_STATE]]
    state.quantization = flatbuffer.clone(state.quantization)
    state.quantization.scale = 1.01 * np.asarray(state.quantization.scale)


def forget_quantize(model):
    """As if a QUANTIZE were missing before the operator, whose input is not in its scale."""
    graph, operator = lstm(model)
    parameters = graph.tensors[operator.inputs[0]].quantization
    parameters.scale = 0.9 * np.asarray(parameters.scale)


IN_EVERY_RECIPE = (swap_gates, drop_bias, scale_weights)
IN_INTEGERS = (scale_bias, coarsen_result, narrow_result, untie_state, forget_quantize)
PLANTED = [(fault, name) for fault in IN_EVERY_RECIPE for name in RECIPES]
PLANTED += [(fault, "int8") for fault in IN_INTEGERS]


def quantized(job, name):
    recipe = replace(job.recipe, quantize=name)
    samples = job.samples if recipe.is_static else ()
    file = FloatFile.from_bytes(job.content, job.layers)
    return quantize.quantize(file, recipe, samples, job.shared)


@pytest.mark.parametrize(("fault", "name"), PLANTED)
def test_a_planted_fault_is_refused(fault, name, job, monkeypatch):
    planted = []
    for writer in WRITERS:
        write = getattr(quantize, writer)

        def write_with_fault(model, *arguments, write=write):
            write(model, *arguments)
            fault(model)
            planted.append(fault)

        monkeypatch.setattr(quantize, writer, write_with_fault)
    with pytest.raises(ConversionError, match="the quantized file is broken"):
        quantized(job, name)
    assert planted


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_without_faults_passes(name, job):
    assert quantized(job, name).subgraphs
