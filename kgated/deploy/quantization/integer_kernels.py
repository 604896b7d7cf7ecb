"""The integer kernels of LiteRT that ai-edge-quantizer does not use."""

from collections.abc import Mapping
from dataclasses import dataclass

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
    "TILE": IntegerKernel(same_scale=True),
}
LOOKUP = IntegerKernel()  # a table knows both scales
