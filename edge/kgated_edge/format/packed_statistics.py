"""Feature statistics as a short text: 17 bytes for each feature, compressed, in base 85.

| bytes | what |
|---|---|
| 3, 3, 3 | smallest value, largest value and median: float32 without its last 8 bits |
| 8 | the other edges: their distance from the median, logarithmic, down to 1/6,500 of the range |
| 10 | shares of the bins in 1/255; zeros, which compress to nothing, where all are about equal |
"""

import base64
import zlib

import numpy as np
import numpy.typing as npt

BINS = 10
_MEDIAN = BINS // 2 - 1  # its place among the edges
_BYTES = 9 + (BINS - 2) + BINS
_EVEN = 0.01  # a share so near to 1 / BINS is that
_CODES_PER_OCTAVE = 20
_TOLERANCE = 1e-6  # of a code that is computed again
Floats = npt.NDArray[np.float64]


def pack(low: Floats, high: Floats, edges: Floats, shares: Floats) -> str:
    """The text of statistics that `rounded` has given, and of the shares."""
    median = edges[:, _MEDIAN]
    around = np.delete(edges, _MEDIAN, axis=1)
    codes = _codes(around, low, high, median)
    is_even = np.abs(shares - 1 / BINS).max(axis=1, keepdims=True) < _EVEN
    fractions = np.where(is_even, 0, np.round(shares * 255)).astype(np.uint8)
    columns = [_three_bytes(x) for x in (low, high, median)]
    # All of one column, then the next: zeros lie beside each other.
    content = np.concatenate([*columns, codes, fractions], axis=1).T.tobytes()
    return base64.b85encode(zlib.compress(content, 9)).decode()


def unpack(text: str, size: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Low, high, edges and shares of `size` features.

    Raises:
        ValueError: the text is damaged, or of another number of features.
    """
    expected = size * _BYTES
    try:
        unzip = zlib.decompressobj()
        content = unzip.decompress(base64.b85decode(text), expected + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(content) != expected or not unzip.eof:
        raise ValueError(f"{len(content)} bytes of {expected}")
    rows = np.frombuffer(content, np.uint8).reshape(_BYTES, size).T
    low, high, median = (_of_three_bytes(rows[:, n : n + 3]) for n in (0, 3, 6))
    if not np.isfinite([low, high, median]).all() or np.any(low > high):
        raise ValueError("a range that is none")
    edges = _edges(low, high, median, rows[:, 9 : 9 + BINS - 2])
    fractions = rows[:, 9 + BINS - 2 :].astype(np.float64)
    total = fractions.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, fractions / np.maximum(total, 1), 1 / BINS)
    return low, high, edges, shares


def rounded(low: Floats, high: Floats, edges: Floats) -> tuple[Floats, Floats, Floats]:
    """The values as `pack` stores them; the range gets no smaller."""
    low, high = _outward(low, -1), _outward(high, 1)
    # Upwards, so that the values of a constant feature stay in the first bin.
    median = _outward(edges[:, _MEDIAN], 1)
    codes = _codes(np.delete(edges, _MEDIAN, axis=1), low, high, median)
    return low, high, _edges(low, high, median, codes)


def _codes(around: Floats, low: Floats, high: Floats, median: Floats) -> npt.NDArray[np.uint8]:
    signed = _sides(low, high, median)
    reach = np.where(signed == 0, 1.0, signed)
    fraction = np.clip((around - median[:, None]) / reach, 2.0**-100, 1.0)
    exact = 255 + _CODES_PER_OCTAVE * np.log2(fraction)
    # Upwards, so that values at an edge, as of a feature with few levels, stay below it.
    codes = np.where(reach > 0, np.ceil(exact - _TOLERANCE), np.floor(exact + _TOLERANCE))
    return np.clip(codes, 0, 255).astype(np.uint8)


def _edges(low: Floats, high: Floats, median: Floats, codes: npt.NDArray[np.uint8]) -> Floats:
    fraction = np.where(codes == 0, 0.0, 2.0 ** ((codes - 255.0) / _CODES_PER_OCTAVE))
    around = median[:, None] + fraction * _sides(low, high, median)
    return np.maximum.accumulate(np.insert(around, _MEDIAN, median, axis=1), axis=1)


def _sides(low: Floats, high: Floats, median: Floats) -> Floats:
    """The largest distance of each edge from the median; negative for those below it."""
    below = np.arange(BINS - 2) < _MEDIAN
    return np.where(below, (low - median)[:, None], (high - median)[:, None])


def _three_bytes(x: Floats) -> npt.NDArray[np.uint8]:
    return x.astype(">f4").view(np.uint8).reshape(-1, 4)[:, :3]


def _of_three_bytes(content: npt.NDArray[np.uint8]) -> Floats:
    full = np.concatenate([content, np.zeros((len(content), 1), np.uint8)], axis=1)
    return np.ascontiguousarray(full).view(">f4").ravel().astype(np.float64)


def _outward(x: Floats, sign: int) -> Floats:
    """Values of three bytes, not below (sign 1) or not above (sign -1) the values given."""
    cut = _of_three_bytes(_three_bytes(x))
    following = cut.astype(np.float32).view(np.uint32) + np.uint32(256)  # away from zero
    following = following.view(np.float32).astype(np.float64)
    return np.where(sign * cut < sign * x, following, cut)
