"""Whether the integers of a finished file's inputs and states hold the calibrated values."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import TensorSpec

from kgated.errors import ConversionError

MAX_OUTSIDE = {"minmax": 0.0, "percentile": 0.1, "mse": 0.1}
"""The fraction of the values that may saturate, by calibration method."""
_ROUNDING = 1.5  # steps


def check_coverage(
    manifest: Manifest, samples: Sequence[Mapping[str, np.ndarray]], method: str
) -> None:
    """Refuse a file whose inputs or states saturate at values that it was calibrated on.

    Args:
        manifest: of the finished file.
        samples: inputs of the float file's signature, as calibration took them.
        method: of calibration.

    Raises:
        ConversionError: with the tensor.
    """
    for spec in _integers((*manifest.frames, *manifest.states)):
        values = np.concatenate([np.ravel(sample[spec.name]) for sample in samples])
        limits, scale = np.iinfo(spec.dtype), float(spec.scale or 0.0)
        low, high = ((end - (spec.zero_point or 0)) * scale for end in (limits.min, limits.max))
        margin = _ROUNDING * scale
        outside = float(((values < low - margin) | (values > high + margin)).mean())
        if outside > MAX_OUTSIDE[method]:
            raise ConversionError(
                f"the quantized file is broken: `{spec.name}` holds {low:.3g} to {high:.3g}, and "
                f"{100 * outside:.3g}% of the calibrated values lie outside, from "
                f"{values.min():.3g} to {values.max():.3g}; nothing was written. Try another "
                "`quantize`"
            )


def _integers(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    return [spec for spec in specs if spec.scale is not None and spec.dtype in ("int8", "int16")]
