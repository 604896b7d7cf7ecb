"""The properties of each quantization."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Quantization:
    """The properties of one value of `quantize`.

    Attributes:
        weight_bits: bits of a weight; 32 and 16 are floating point.
        activation_bits: bits of an activation, an input, an output and a state, all of them
            integers of a fixed range; None: they are float32.
        limit: the largest error against the Keras model, relative to max(1, |output|), that is
            usual: at least three times the worst error measured on trained classifiers, and on
            every cell at random weights. A float file is refused above it.
        golden_floor: the smallest tolerance of a golden frame, relative in the same way: rounding
            differs between processors.
        lstm_kernel: whether the fused LSTM operator has a kernel for it.
    """

    weight_bits: int
    activation_bits: int | None
    limit: float
    golden_floor: float
    lstm_kernel: bool = True

    @property
    def is_static(self) -> bool:
        """Whether inputs, outputs and states are integers, whose ranges need calibration."""
        return self.activation_bits is not None

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.weight_bits == 32

    @property
    def has_integer_weights(self) -> bool:
        """Whether weights are integers, and not floating point of fewer bits."""
        return self.weight_bits <= 8

    @property
    def rmse_limit(self) -> float:
        """The largest root mean square of the error, which a wrong scale raises everywhere."""
        return self.limit / 5


QUANTIZATIONS: Mapping[str, Quantization] = {
    "none": Quantization(32, None, limit=1e-4, golden_floor=1e-5),
    "float16": Quantization(16, None, limit=5e-3, golden_floor=1e-4),
    "dynamic": Quantization(8, None, limit=0.1, golden_floor=1e-3),
    "dynamic4": Quantization(4, None, limit=0.4, golden_floor=1e-3),
    "int8": Quantization(8, 8, limit=0.3, golden_floor=1e-2),
    "int16x8": Quantization(8, 16, limit=0.1, golden_floor=1e-3, lstm_kernel=False),
}
