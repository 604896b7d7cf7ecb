"""Tensors that must share scale and zero point, as a state that goes out and comes in again."""

from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.tflite import flatbuffer
from kgated.errors import ConversionError

Ties = Sequence[tuple[str, str]]


def tied(tflite: bytes, found: Ranges, ties: Ties, apply: Callable[[Ranges], bytes]) -> bytes:
    """Quantize so that both ends of each tie have the same scale and zero point.

    Args:
        tflite: the float file.
        found: ranges by tensor name; those of tied tensors are changed.
        ties: (input, output) of the signature.
        apply: from ranges to the quantized file.

    Raises:
        ConversionError: it can't be done.
    """
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(tflite))
    name = flatbuffer.tensor_name
    names = {(a, b): (name(inputs[a]), name(outputs[b])) for a, b in ties}
    for one, other in names.values():
        _set(found, (one, other), _union(found[one], found[other]))
    made = apply(found)
    if not (loose := _loose(made, ties)):
        return made
    # A kernel such as tanh's fixes its output's scale: the input takes it over.
    _, outputs = flatbuffer.signature(flatbuffer.parse(made))
    for tie in loose:
        _set(found, names[tie], _representable(outputs[tie[1]]))
    made = apply(found)
    if loose := _loose(made, ties):
        raise ConversionError(
            f"input and output of {loose} can't share a scale; name their layers in `skip`"
        )
    return made


def _loose(made: bytes, ties: Ties) -> list[tuple[str, str]]:
    """The ties whose ends differ."""
    inputs, outputs = flatbuffer.signature(flatbuffer.parse(made))
    scale = flatbuffer.scale_and_zero_point
    ends = {(a, b): (inputs[a], outputs[b]) for a, b in ties}
    return [tie for tie, (a, b) in ends.items() if (a.type, scale(a)) != (b.type, scale(b))]


def _union(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        "min": np.minimum(one["min"], other["min"]),
        "max": np.maximum(one["max"], other["max"]),
    }


def _set(found: Ranges, names: tuple[str, str], value: dict[str, np.ndarray]) -> None:
    found.update({name: dict(value) for name in names})


def _representable(tensor: schema.TensorT) -> dict[str, np.ndarray]:
    """The range from which the quantizer computes a tensor's own scale and zero point."""
    quantized = flatbuffer.scale_and_zero_point(tensor)
    assert quantized is not None, "a tied output is quantized, or its input would not differ"
    scale, zero_point = quantized
    limits = np.iinfo(flatbuffer.type_name(tensor))
    # 16 bits are quantized symmetrically, and so the least number is left out.
    least = -limits.max if limits.bits == 16 else limits.min
    return {
        "min": np.array([(least - zero_point) * scale], np.float32),
        "max": np.array([(limits.max - zero_point) * scale], np.float32),
    }
