"""Prediction intervals of a forecaster: the manifest's section `intervals`."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kgated_edge.format.json_fields import Fields
from kgated_edge.format.tensor_spec import Array


@dataclass(frozen=True)
class Intervals:
    """Split-conformal intervals: result ± half width.

    Attributes:
        coverage: probability that an interval holds the target, in 0..1.
        half_widths: one per element of the first output.
    """

    coverage: float
    half_widths: tuple[float, ...]

    def bounds(self, result: Any) -> tuple[Array, Array]:
        """Lower and upper limits (..., *output) for a result (..., *output)."""
        values = np.asarray(result, np.float32)
        width = np.array(self.half_widths, np.float32)
        flat = values.reshape(-1, len(width))
        return (flat - width).reshape(values.shape), (flat + width).reshape(values.shape)

    def to_plain(self) -> dict[str, object]:
        """The section of the JSON document."""
        return asdict(self) | {"half_widths": list(self.half_widths)}

    @classmethod
    def read(cls, items: Fields) -> "Intervals":
        """Reads the section of the manifest.

        Raises:
            ManifestError: a field is absent, has another type or is out of range.
        """
        coverage = items.positive("coverage")
        if coverage >= 1:
            raise items.wrong("coverage", "below 1")
        return cls(coverage, items.reals("half_widths"))
