"""The state of a quantization between its stages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.lstm.ranges import LstmRanges
from kgated.deploy.quantization.ranges.calibration import Ranges
from kgated.deploy.quantization.rewrites.activation_tables import Function
from kgated.deploy.quantization.rewrites.masked_means import MaskedMean
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile

Samples = Sequence[dict[str, np.ndarray]]


@dataclass
class QuantizationState:
    """A file between two stages.

    Attributes:
        file: the float file.
        recipe, samples, shared: as `quantize` takes them.
        ranges: by tensor name; empty before calibration.
        from_qat: whether the ranges are those of quantization-aware training.
        origins: the sequence that each sample is of.
        rules: the quantizer's.
        lstm_ranges: by the name of a fused LSTM.
        functions: by name of the result, of the regions that a lookup table computes.
        means: by name of the result, of the divisions by the number of real frames.
        quantized: the result; None before the quantizer has run.
        used_ranges: those that the result was made of, of shared scales too.
    """

    file: FloatFile
    recipe: Recipe
    samples: Samples
    shared: SharedScales
    ranges: Ranges
    from_qat: bool
    origins: Sequence[int] | None = None
    rules: Any = None
    lstm_ranges: dict[str, LstmRanges] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    means: dict[str, MaskedMean] = field(default_factory=dict)
    quantized: schema.ModelT | None = None
    used_ranges: Ranges = field(default_factory=dict)

    @property
    def bits(self) -> int:
        """The number of bits of an activation of a static recipe."""
        bits = self.recipe.quantization.activation_bits
        assert bits is not None, "the stage is for static recipes"
        return bits
