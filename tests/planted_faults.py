"""Faults in a quantized file, as a defect of a pass would make them."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import kgated
from kgated.deploy.quantization.worker_job import quantize_in_worker
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.verification import float_stage

WEIGHTS, BIAS = 1, 2
COPIES = ("SPLIT", "SLICE", "STRIDED_SLICE", "RESHAPE")


def product(model):
    """The graph and the operator of the first product with a bias."""
    return next(
        (graph, operator)
        for graph, operator in flatbuffer.operators(model)
        if flatbuffer.operator_name(model, operator) == "FULLY_CONNECTED"
        and len(operator.inputs) > BIAS
        and operator.inputs[BIAS] >= 0
    )


def constant(model, slot):
    """The tensor that an operand of that product is stored in."""
    graph, operator = product(model)
    n = int(operator.inputs[slot])
    for cast in graph.operators:
        if flatbuffer.operator_name(model, cast) == "DEQUANTIZE" and n in cast.outputs:
            n = int(cast.inputs[0])
    return graph.tensors[n]


def change_data(model, tensor, change):
    buffer = model.buffers[tensor.buffer]
    half = tensor.type == schema.TensorType.FLOAT16
    kind = np.uint8 if tensor.type == schema.TensorType.INT4 else flatbuffer.type_name(tensor)
    data = np.frombuffer(bytes(buffer.data), np.float16 if half else kind)
    buffer.data = np.frombuffer(change(data.copy()).astype(data.dtype).tobytes(), np.uint8)


def swap_gates(model, count=4):
    weights = constant(model, WEIGHTS)
    change_data(model, weights, lambda x: np.roll(x.reshape(count, -1), 1, axis=0).ravel())


def zero_bias(model):
    change_data(model, constant(model, BIAS), np.zeros_like)


def drop_bias(model):
    _, operator = product(model)
    operator.inputs = np.array([*operator.inputs[:BIAS], -1], np.int32)


def scale_weights(model):
    weights = constant(model, WEIGHTS)
    if weights.type == schema.TensorType.FLOAT16:
        change_data(model, weights, lambda x: 2 * x)
    else:
        weights.quantization.scale = 2 * np.asarray(weights.quantization.scale)


def scale_bias(model):
    bias = constant(model, BIAS)
    change_data(model, bias, lambda x: x // 2)
    bias.quantization.scale = 2 * np.asarray(bias.quantization.scale)


def coarsen_result(model):
    graph, operator = product(model)
    scale_result(graph, operator, 4.0)


def narrow_result(model):
    graph, operator = product(model)
    scale_result(graph, operator, 0.25)


def scale_result(graph, operator, factor):
    parameters = graph.tensors[operator.outputs[0]].quantization
    parameters.scale = factor * np.asarray(parameters.scale)


def forget_quantize(model):
    """As if a QUANTIZE were missing before the operator that copies integers."""
    scale_result(
        *next(
            (graph, operator)
            for graph, operator in flatbuffer.operators(model)
            if flatbuffer.operator_name(model, operator) in COPIES
        ),
        0.9,
    )


def untie_state(model):
    """As if a state went out in another scale than it came in."""
    _, outputs = flatbuffer.signature(model)
    parameters = outputs[next(n for n in outputs if n.endswith(("_c", "_h")))].quantization
    parameters.scale = 1.01 * np.asarray(parameters.scale)


def int8_job(model, path, x, **options):
    """The job of the quantization in int8 that a conversion of a model makes."""
    jobs = []

    def listed(job):
        jobs.append(job)
        return quantize_in_worker(job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(float_stage, "quantize_in_worker", listed)
        kgated.to_tflite(model, path, quantize="int8", calibration=x, **options)
    return jobs[0]
