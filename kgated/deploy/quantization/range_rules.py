"""Ranges that are corrected before the quantizer makes scales of them."""

from math import log2

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.tflite import flatbuffer

# LiteRT's ADD and SUB in int16 add by shifts alone where all three scales are powers of two, to a
# thousandth of an exponent, and refuse to run where both operands have to be shifted: as h - g of a
# GRU that saturates, from two of 2^-15 to one of 2^-14.
NEAR_POWER = 2e-3  # of an exponent, twice what the kernels take for a power
WIDENING = 1.004
INT16_MAX = np.iinfo(np.int16).max


def avoid_power_of_two_scales(model: schema.ModelT, ranges: Ranges) -> Ranges:
    """The ranges; of sums and differences a little wider where the scale is a power of two.

    Args:
        model: the float file.
        ranges: by tensor name.
    """
    changed = dict(ranges)
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) in ("ADD", "SUB"):
            name = flatbuffer.tensor_name(graph.tensors[operator.outputs[0]])
            if name in ranges and _is_power_of_two(ranges[name]):
                changed[name] = {end: WIDENING * value for end, value in ranges[name].items()}
    return changed


def _is_power_of_two(limits: dict[str, np.ndarray]) -> bool:
    largest = max(float(np.abs(value).max()) for value in limits.values())
    exponent = log2(largest / INT16_MAX) if largest > 0 else 0.5
    return abs(exponent - round(exponent)) < NEAR_POWER


def clamp_rsqrt_ranges(model: schema.ModelT, ranges: Ranges, bits: int) -> Ranges:
    """The ranges, with each RSQRT's no wider than its argument's integers can make use of.

    A frame of silence has a variance of zero, and 1/√1e-8 is 10,000: in a range that reaches so far
    the values of every other frame would be one integer.

    Args:
        model: the float file.
        ranges: by tensor name.
        bits: of an activation.
    """
    name = flatbuffer.tensor_name
    steps = 2 ** (bits - 1) - 1 if bits == 16 else 2**bits - 1  # 16 bits have a sign of no use
    clamped = dict(ranges)
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) == "RSQRT":
            variance, inverse = (
                name(graph.tensors[ends[0]]) for ends in (operator.inputs, operator.outputs)
            )
            bound = np.sqrt(steps / ranges[variance]["max"])
            largest = np.minimum(ranges[inverse]["max"], bound.astype(np.float32))
            clamped[inverse] = {"min": np.minimum(ranges[inverse]["min"], largest), "max": largest}
    return clamped
