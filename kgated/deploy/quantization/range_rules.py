"""Sums and differences in int16 whose scale must be no power of two.

LiteRT's ADD and SUB add by shifts alone where all three scales are powers of two, to a thousandth
of an exponent, and refuse to run where both operands have to be shifted: as h - g of a GRU that
saturates, from two of 2^-15 to one of 2^-14.
"""

from math import log2

import numpy as np

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.tflite import flatbuffer

NEAR = 2e-3  # of an exponent, twice what the kernels take for a power
WIDER = 1.004
MOST = np.iinfo(np.int16).max


def off_powers(tflite: bytes, found: Ranges) -> Ranges:
    """The ranges; of sums and differences a little wider where the scale is a power of two."""
    model, changed = flatbuffer.parse(tflite), dict(found)
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) in ("ADD", "SUB"):
            name = flatbuffer.tensor_name(graph.tensors[operator.outputs[0]])
            if name in found and _is_power(found[name]):
                changed[name] = {end: WIDER * value for end, value in found[name].items()}
    return changed


def _is_power(limits: dict[str, np.ndarray]) -> bool:
    most = max(float(np.abs(value).max()) for value in limits.values())
    exponent = log2(most / MOST) if most > 0 else 0.5
    return abs(exponent - round(exponent)) < NEAR


def bounded(tflite: bytes, found: Ranges, bits: int) -> Ranges:
    """The ranges, with each RSQRT's no wider than its argument's integers can make use of.

    A frame of silence has a variance of zero, and 1/√1e-8 is 10,000: in a range that reaches so far
    the values of every other frame would be one integer.

    Args:
        tflite: the float file.
        found: ranges by tensor name.
        bits: of an activation.
    """
    model, name = flatbuffer.parse(tflite), flatbuffer.tensor_name
    steps = 2 ** (bits - 1) - 1 if bits == 16 else 2**bits - 1  # 16 bits have a sign of no use
    result = dict(found)
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) == "RSQRT":
            variance, inverse = (
                name(graph.tensors[ends[0]]) for ends in (operator.inputs, operator.outputs)
            )
            most = np.sqrt(steps / found[variance]["max"])
            largest = np.minimum(found[inverse]["max"], most.astype(np.float32))
            result[inverse] = {"min": np.minimum(found[inverse]["min"], largest), "max": largest}
    return result
