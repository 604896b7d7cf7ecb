"""Corrects ranges before the quantizer computes scales from them."""

from math import log2
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.tflite import flatbuffer

# LiteRT's ADD and SUB in int16 add by shifts alone where all three scales are powers of two, to a
# thousandth of an exponent, and refuse to run where both operands have to be shifted: as h - g of a
# GRU that saturates, from two of 2^-15 to one of 2^-14.
NEAR_POWER = 2e-3  # of an exponent, twice what the kernels take for a power
WIDENING = 1.004
INT16_MAX = np.iinfo(np.int16).max
# ADD and SUB abort where the result's scale is below 2^-20 of an operand's, and other kernels
# refuse such a ratio.
SMALLEST_RATIO = 2.0**-18


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


def widen_constant_ranges(model: schema.ModelT, ranges: Ranges) -> Ranges:
    """The ranges; that of a result that hardly moves takes in those of the operator's operands.

    A part of the model that the samples leave at zero has an empty range, and a scale so small that
    kernels abort on it. The values of such a tensor round to zero in the wider range.

    Args:
        model: the float file.
        ranges: by tensor name.
    """
    name, result_ranges = flatbuffer.tensor_name, dict(ranges)
    for graph, operator in flatbuffer.operators(model):
        operands = [graph.tensors[n] for n in operator.inputs if n >= 0]
        known = [result_ranges[name(x)] for x in operands if name(x) in result_ranges]
        for result in (graph.tensors[n] for n in operator.outputs):
            limits = result_ranges.get(name(result))
            if limits is not None and known:
                result_ranges[name(result)] = _at_least(limits, known)
    return result_ranges


def _at_least(limits: dict[str, np.ndarray], operands: list[dict[str, np.ndarray]]) -> Any:
    """The limits, or where they are next to nothing beside the operands' the union of all."""
    largest = max(_largest(operand) for operand in operands)
    if largest > 0.0 and _largest(limits) >= SMALLEST_RATIO * largest:
        return limits
    low = min(0.0, *(float(np.min(operand["min"])) for operand in operands))
    high = max(0.0, *(float(np.max(operand["max"])) for operand in operands))
    high = high if high > low else 1.0
    return {end: np.full_like(limits[end], value) for end, value in (("min", low), ("max", high))}


def _largest(limits: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(value).max()) for value in limits.values())


def _is_power_of_two(limits: dict[str, np.ndarray]) -> bool:
    largest = _largest(limits)
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
