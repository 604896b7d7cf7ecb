"""Ranges that are robust to outliers: by percentile, or by the smallest rounding error.

An outlier in the calibration, such as one recording of a hundred times the loudness, would take
the steps of the scale from all others.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from kgated.deploy.quantization.ranges.calibration import (
    Ranges,
    as_range,
    tensor_preserving_interpreter,
)

MAX_NUMBERS = 32_000_000  # float32 that are held at a time
MAX_SAMPLES = 1024
MIN_SEQUENCES = 8  # with fewer, percentiles are of single samples
FACTORS = np.geomspace(1.0, 1 / 256, 33)  # of the largest value, tried for "mse"
_Samples = Sequence[dict[str, np.ndarray]]


def robust_ranges(
    content: bytes,
    ranges: Ranges,
    samples: _Samples,
    origins: Sequence[int] | None,
    method: str,
    percentile: float,
    bits: int,
) -> Ranges:
    """The ranges of computed tensors, narrowed.

    Args:
        content: the float file that the ranges are of.
        ranges: the extremes by tensor name.
        samples: inputs of the signature; of many some, evenly spread.
        origins: the sequence that each sample is of; None: one each.
        method: "percentile": of the largest and the smallest values of the sequences, or of the
            samples where there are few sequences, so that at least one of them is left out. "mse":
            the part of the range with the smallest squared error of rounding and saturation; a
            sample of k times the usual mean square counts 1 / k² of the others.
        percentile: for "percentile".
        bits: of an activation.
    """
    every = -(-len(samples) // MAX_SAMPLES)
    numbers = np.arange(len(samples)) if origins is None else np.asarray(origins)
    if len(np.unique(numbers)) < MIN_SEQUENCES:
        numbers = np.arange(len(samples))
    narrowed = dict(ranges)
    for name, values in _recorded(content, ranges, samples[::every]):
        old = float(ranges[name]["min"].ravel()[0]), float(ranges[name]["max"].ravel()[0])
        if method == "percentile":
            low, high = _percentiles(values, numbers[::every], percentile)
        else:
            low, high = _smallest_error(values, old, bits)
        rank = np.ndim(ranges[name]["min"])
        narrowed[name] = as_range(max(low, old[0]), min(high, old[1]), rank)
    return narrowed


def _recorded(
    content: bytes, ranges: Ranges, samples: _Samples
) -> Iterator[tuple[str, np.ndarray]]:
    """The values (samples, numbers) of each computed float tensor that has a range."""
    interpreter, run = tensor_preserving_interpreter(content)
    run(**samples[0])
    tensors = {
        detail["name"]: (detail["index"], interpreter.get_tensor(detail["index"]))
        for detail in interpreter.get_tensor_details()
        if detail["name"] in ranges and detail["dtype"] == np.float32 and np.prod(detail["shape"])
    }
    constants = _constant_names(content)
    sizes = {name: x.size for name, (_, x) in tensors.items() if name not in constants}
    for names in _portions(sizes, MAX_NUMBERS // len(samples)):
        arrays = {name: np.empty((len(samples), sizes[name]), np.float32) for name in names}
        for n, sample in enumerate(samples):
            run(**sample)
            for name, array in arrays.items():
                array[n] = interpreter.get_tensor(tensors[name][0]).ravel()
        yield from arrays.items()


def _constant_names(content: bytes) -> set[str]:
    """The names of tensors whose numbers stand in the file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content)
    graphs = (model.Subgraphs(n) for n in range(model.SubgraphsLength()))
    tensors = (graph.Tensors(n) for graph in graphs for n in range(graph.TensorsLength()))
    return {
        tensor.Name().decode()
        for tensor in tensors
        if (buffer := model.Buffers(tensor.Buffer())).DataLength() or buffer.Size()
    }


def _portions(sizes: dict[str, int], limit: int) -> Iterator[list[str]]:
    """The names in portions of at most so many numbers together, or one."""
    portion, total = list[str](), 0
    for name, size in sizes.items():
        if portion and total + size > limit:
            yield portion
            portion, total = [], 0
        portion.append(name)
        total += size
    if portion:
        yield portion


def _percentiles(values: np.ndarray, numbers: np.ndarray, percentile: float) -> tuple[float, float]:
    """Percentiles of the extremes of each sequence; not interpolated, so robust to outliers."""
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 1))
    low = np.minimum.reduceat(values.min(axis=1), starts)
    high = np.maximum.reduceat(values.max(axis=1), starts)
    return (
        float(np.percentile(low, 100.0 - percentile, method="higher")),
        float(np.percentile(high, percentile, method="lower")),
    )


def _smallest_error(
    values: np.ndarray, limits: tuple[float, float], bits: int
) -> tuple[float, float]:
    power = np.mean(np.square(values, dtype=np.float64), axis=1)
    usual = float(np.median(power[power > 0])) if power.any() else 1.0
    weight = np.minimum(1.0, usual / np.maximum(power, usual)) / np.maximum(power, usual)
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    # An outlier is at one end: the same bound for both leaves the other end as it is.
    bounds = FACTORS * max(-low, high)
    tried = [(max(low, -bound), min(high, bound)) for bound in bounds]
    errors = [_error(values, weight, *ends, bits) for ends in tried]
    return tried[int(np.argmin(errors))]


def _error(values: np.ndarray, weight: np.ndarray, low: float, high: float, bits: int) -> float:
    if high <= low:
        return 0.0
    step = max(-low, high) / (2**15 - 1) if bits == 16 else (high - low) / (2**8 - 1)
    clipped = np.clip(values, low, high)
    rounded = np.round(clipped / np.float32(step)) * np.float32(step)
    return float(np.mean(weight * np.mean(np.square(values - rounded), axis=1)))
