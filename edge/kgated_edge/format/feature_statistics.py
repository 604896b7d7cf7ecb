"""Statistics of the features of training or calibration data: a section of the manifest."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from kgated_edge.format.json_fields import Fields
from kgated_edge.format.packed_statistics import BINS, pack, rounded, unpack
from kgated_edge.format.tensor_spec import Array

MAX_FEATURES = 512


@dataclass(frozen=True)
class FeatureStatistics:
    """Range and distribution of each feature of one input.

    Attributes:
        low, high: smallest and largest value, one per feature.
        edges: of `BINS` bins with about equally many values each, BINS - 1 per feature.
        shares: of the values in each bin, BINS per feature; bin k holds values above edge k - 1 and
            up to edge k.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, frames: Array) -> Self:
        """The statistics of frames (n, F), n from 1, in the precision of the manifest."""
        values = np.asarray(frames, np.float64)
        levels = np.linspace(0, 1, BINS + 1)[1:-1]
        quantiles = np.quantile(values, levels, axis=0).T
        low, high, edges = rounded(values.min(axis=0), values.max(axis=0), quantiles)
        above = np.count_nonzero(values[:, :, None] > edges.astype(np.float32), axis=0)
        shares = shares_of(above, len(values))
        return cls._of_arrays(*unpack(pack(low, high, edges, shares), len(low)))

    def to_plain(self) -> dict[str, object]:
        """The entry of the JSON document."""
        arrays = (np.array(x) for x in (self.low, self.high, self.edges, self.shares))
        return {"packed": pack(*arrays)}

    @classmethod
    def _of_arrays(cls, low: Array, high: Array, edges: Array, shares: Array) -> Self:
        return cls(
            tuple(low.tolist()),
            tuple(high.tolist()),
            tuple(map(tuple, edges.tolist())),
            tuple(map(tuple, shares.tolist())),
        )

    @classmethod
    def read(cls, items: Fields, size: int) -> Self:
        """Reads the entry of an input with `size` features.

        Raises:
            ManifestError: a field is absent, has another type or length, or edges that fall.
        """
        if "packed" in items:
            text = items.text("packed")
            try:
                return cls._of_arrays(*unpack(text, size))
            except ValueError as error:
                raise items.wrong("packed", f"the statistics of {size} features") from error
        low, high = items.finites("low"), items.finites("high")
        edges = _rows(items, "edges", size, BINS - 1)
        shares = _rows(items, "shares", size, BINS)
        if len(low) != size or len(high) != size:
            raise items.wrong("low", f"{size} numbers, one per feature, and so must be `high`")
        if any(a > b for row in edges for a, b in pairwise(row)):
            raise items.wrong("edges", "of numbers that do not fall")
        if any(not 0 <= fraction <= 1 for row in shares for fraction in row):
            raise items.wrong("shares", "of numbers in 0..1")
        return cls(low, high, edges, shares)


def shares_of(above: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.float64]:
    """Shares (F, BINS) of the bins, from how many of `count` values are above each edge."""
    ends = np.full((len(above), 1), count)
    counts = -np.diff(np.concatenate([ends, above, 0 * ends], axis=1), axis=1)
    return np.asarray(counts / max(count, 1))


def _rows(items: Fields, key: str, size: int, width: int) -> tuple[tuple[float, ...], ...]:
    rows = items.array(key)
    nested = Fields({str(n): row for n, row in enumerate(rows)}, items.path(key))
    read = tuple(nested.finites(n) for n in nested)
    if len(read) != size or any(len(row) != width for row in read):
        raise items.wrong(key, f"{size} arrays of {width} numbers")
    return read
