"""The integer kernels of LiteRT that ai-edge-quantizer does not use."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

INTEGER = {8: schema.TensorType.INT8, 16: schema.TensorType.INT16}


@dataclass(frozen=True)
class IntegerKernel:
    """The requirements of an integer kernel of LiteRT on its tensors.

    Attributes:
        bits: the widths of activations that it takes.
        same_scale: whether it copies or compares integers, so that operands and result need one
            scale and zero point; else it rescales by itself.
        constant_bits: of a constant operand, where it is not as wide as the activations.
        output: scale and zero point that its int8 result must have, where it has no choice.
    """

    bits: tuple[int, ...] = (8, 16)
    same_scale: bool = False
    constant_bits: int | None = None
    output: tuple[float, int] | None = None


@dataclass(frozen=True)
class Params:
    """Scale and zero point of a whole tensor."""

    scale: float
    zero_point: int

    @classmethod
    def of_range(cls, low: float, high: float, bits: int) -> "Params":
        """As the quantizer takes them from a range: int16 symmetric, int8 not."""
        low, high = min(low, 0.0), max(high, 0.0)
        if bits == 16:
            return cls(max(-low, high, 1e-9) / (2**15 - 1), 0)
        scale = max(high - low, 1e-9) / (2**8 - 1)
        return cls(scale, int(np.clip(round(-(2**7) - low / scale), -(2**7), 2**7 - 1)))

    def quantize(self, x: np.ndarray, bits: int) -> np.ndarray:
        """Float values as integers, saturated."""
        limit = 2 ** (bits - 1)
        rounded = np.round(x / self.scale) + self.zero_point
        return np.clip(rounded, -limit, limit - 1).astype(f"int{bits}")

    def stored(self) -> schema.QuantizationParametersT:
        """As a file keeps them."""
        return schema.QuantizationParametersT(
            scale=np.array([self.scale], np.float32),
            zeroPoint=np.array([self.zero_point], np.int64),
        )


KERNELS: Mapping[str, IntegerKernel] = {
    "ABS": IntegerKernel(),
    "BATCH_TO_SPACE_ND": IntegerKernel(same_scale=True),
    "ELU": IntegerKernel(bits=(8,)),
    "EXP": IntegerKernel(),
    "L2_NORMALIZATION": IntegerKernel(bits=(8,), output=(1 / 128, 0)),
    "LEAKY_RELU": IntegerKernel(),
    "LOG": IntegerKernel(),
    "LOG_SOFTMAX": IntegerKernel(bits=(8,), output=(16 / 256, 127)),
    "MAXIMUM": IntegerKernel(same_scale=True),
    "MINIMUM": IntegerKernel(same_scale=True),
    "PRELU": IntegerKernel(constant_bits=8),  # it reads its slopes as int8, whatever they are
    "REDUCE_MAX": IntegerKernel(same_scale=True),
    "REDUCE_MIN": IntegerKernel(same_scale=True),
    "REVERSE_V2": IntegerKernel(same_scale=True),
    "SPACE_TO_BATCH_ND": IntegerKernel(same_scale=True),
    "TOPK_V2": IntegerKernel(same_scale=True),
    "TILE": IntegerKernel(same_scale=True),
}
# Their results are places of numbers, and integers in either case. They have no int16 kernel.
PLACES = ("ARG_MAX", "ARG_MIN")
LOOKUP = IntegerKernel()  # a table knows both scales
