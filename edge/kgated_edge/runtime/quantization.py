"""Between float32, which the caller sees, and the integers of a statically quantized file.

real = scale * (stored - zero_point); rounded to the nearest, ties to even, and what is out of range
is set to the nearest that fits, as the runtime's own QUANTIZE does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.format.tensor_spec import Array, TensorSpec


def storer(spec: TensorSpec, target: Array, buffer: Array) -> Callable[[], None]:
    """The function that quantizes `buffer` into `target`; what `buffer` holds is lost.

    Args:
        spec: of an integer dtype with scale and zero point.
        target: of the spec's dtype.
        buffer: float32 of the same shape, finite.
    """
    scale, zero = _constants(spec)
    limits = np.iinfo(spec.dtype)
    # Limited before it is divided, so that no number gets too large on the way.
    least, most = (limits.min - zero) * scale, (limits.max - zero) * scale
    minimum, maximum, divide, rint, add = np.minimum, np.maximum, np.divide, np.rint, np.add

    def store() -> None:
        minimum(buffer, most, out=buffer)
        maximum(buffer, least, out=buffer)
        divide(buffer, scale, buffer)
        rint(buffer, buffer)
        add(buffer, zero, buffer)
        target[...] = buffer

    return store


def reader(spec: TensorSpec, source: Array) -> Callable[[], Array]:
    """The function that returns a new float32 array of what `source` stands for."""
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
    """The function that copies results out of output tensors: an array, or several by name.

    Args:
        specs: what they stand for.
        views: of the tensors, by name.
    """
    pairs = [(spec.name, reader(spec, views[spec.name])) for spec in specs]
    if len(pairs) == 1:
        return pairs[0][1]
    return lambda: {name: read() for name, read in pairs}


def _constants(spec: TensorSpec) -> tuple[Array, Array]:
    """Scale and zero point, spread over the tensor: NumPy takes five times as long for scalars."""
    scale, zero = (np.float32(value or 0) for value in (spec.scale, spec.zero_point))
    return np.full(spec.shape, scale), np.full(spec.shape, zero)
