"""Converts between the caller's float32 and the integers of a statically quantized file.

real = scale * (stored - zero_point). Rounded to nearest, ties to even; values out of range
saturate, as in the runtime's own QUANTIZE.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.format.tensor_spec import Array, TensorSpec


def storer(spec: TensorSpec, target: Array, buffer: Array) -> Callable[[], None]:
    """A function that quantizes `buffer` into `target` and overwrites `buffer`.

    Args:
        spec: of an integer dtype with scale and zero point.
        target: of the spec's dtype.
        buffer: float32 of the same shape, finite.
    """
    scale, zero = _constants(spec)
    limits = np.iinfo(spec.dtype)
    # Clipped before the division, so that no intermediate value overflows.
    lowest, highest = (limits.min - zero) * scale, (limits.max - zero) * scale
    minimum, maximum, divide, rint, add = np.minimum, np.maximum, np.divide, np.rint, np.add

    def store() -> None:
        minimum(buffer, highest, out=buffer)
        maximum(buffer, lowest, out=buffer)
        divide(buffer, scale, buffer)
        rint(buffer, buffer)
        add(buffer, zero, buffer)
        target[...] = buffer

    return store


def reader(spec: TensorSpec, source: Array) -> Callable[[], Array]:
    """A function that returns the dequantized `source` as a new float32 array."""
    if not spec.is_quantized:
        return source.copy
    scale, zero = _constants(spec)
    subtract, multiply = np.subtract, np.multiply

    def read() -> Array:
        result = subtract(source, zero)
        multiply(result, scale, result)
        return result

    return read


def results_reader(specs: Sequence[TensorSpec], views: Mapping[str, Array]) -> Callable[[], Any]:
    """A function that copies the outputs: returns an array, or with several outputs a dict.

    Args:
        specs: the outputs.
        views: a view of each output tensor by name.
    """
    pairs = [(spec.name, reader(spec, views[spec.name])) for spec in specs]
    if len(pairs) == 1:
        return pairs[0][1]
    return lambda: {name: read() for name, read in pairs}


def _constants(spec: TensorSpec) -> tuple[Array, Array]:
    """Scale and zero point in the tensor's shape: NumPy takes five times as long for scalars."""
    scale, zero = (np.float32(value or 0) for value in (spec.scale, spec.zero_point))
    return np.full(spec.shape, scale), np.full(spec.shape, zero)
