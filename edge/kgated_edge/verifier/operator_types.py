"""Tensor types and scales of operators for which the interpreter would end the process.

An integer operator multiplies by a requantization multiplier, computed from the scales of its
tensors. The interpreter aborts where that multiplier is out of range. Each rule is of one operator.
"""

import math
from collections.abc import Sequence

from kgated_edge.verifier.flatbuffer_reader import Graphs, Operator, Tensor, invalid_graph
from kgated_edge.verifier.opcodes import Op, TensorType

_INTEGERS = (TensorType.UINT8, TensorType.INT16, TensorType.INT8, TensorType.INT4)
# Inputs that hold a whole number for each axis:
_AXIS_INPUTS: dict[int, tuple[int, ...]] = {
    Op.RESHAPE: (1,),
    Op.TRANSPOSE: (1,),
    Op.STRIDED_SLICE: (1, 2, 3),
    Op.SLICE: (1, 2),
}
_MAX_AXES = 8
_VARIABLES = (Op.VAR_HANDLE, Op.READ_VARIABLE, Op.ASSIGN_VARIABLE)
_SAME_TYPE = (
    *(Op.ADD, Op.SUB, Op.MUL, Op.MAXIMUM, Op.MINIMUM),
    *(Op.LOGISTIC, Op.RELU, Op.TANH),
)
_ADDITIVE = (Op.ADD, Op.SUB)
_CHECKED = {*_VARIABLES, *_SAME_TYPE, *_AXIS_INPUTS, Op.SOFTMAX, Op.SQUARED_DIFFERENCE}
_MIN_SOFTMAX_SCALE = 2.0**-26


def check_types(graphs: Graphs, operator: Operator, tensors: Sequence[Tensor], index: int) -> None:
    """Checks types, shapes and scales of the tensors of one operator.

    Args:
        graphs: all subgraphs.
        operator: its tensor indices are valid.
        tensors: those of its subgraph.
        index: the operator's index, for the message.

    Raises:
        ManifestError: they do not fit the operator.
    """
    code = operator.code
    if code not in _CHECKED:
        return
    if code in _VARIABLES:
        handle = (operator.outputs if code == Op.VAR_HANDLE else operator.inputs)[0]
        if tensors[handle].type != TensorType.RESOURCE:
            raise invalid_graph(f"operator {index} does not refer to a resource variable")
    for place in _AXIS_INPUTS.get(code, ()):
        tensor = tensors[operator.inputs[place]]
        is_integer = tensor.type in (TensorType.INT32, TensorType.INT64)
        if not is_integer or math.prod(tensor.shape) > _MAX_AXES:
            raise invalid_graph(
                f"input {place} of operator {index} must be int32 or int64, a number per axis"
            )
    if operator.outputs:
        _check_arithmetic(graphs, operator, tensors, index)


def _check_arithmetic(
    graphs: Graphs, operator: Operator, tensors: Sequence[Tensor], index: int
) -> None:
    output = tensors[operator.outputs[0]]
    inputs = [tensors[tensor] for tensor in operator.inputs if tensor >= 0]
    if operator.code in _SAME_TYPE and any(tensor.type != output.type for tensor in inputs):
        raise invalid_graph(f"operator {index} has an input of another type than its output")
    if output.type in _INTEGERS and not _is_multiplier_in_range(graphs, operator, inputs, output):
        raise invalid_graph(f"the requantization multiplier of operator {index} is out of range")


def _is_multiplier_in_range(
    graphs: Graphs, operator: Operator, inputs: Sequence[Tensor], output: Tensor
) -> bool:
    code, scales, out = operator.code, list(map(_scale, inputs)), _scale(output)
    if code == Op.SOFTMAX:
        beta = graphs.option(operator, 0, "<f")
        return bool(scales[0] * beta > _MIN_SOFTMAX_SCALE)
    # The kernels shift integers left by 20 bits, by 15 or by 7 before they rescale them.
    if code == Op.SQUARED_DIFFERENCE:
        return min(scales) > 0 and (2 * max(scales)) ** 2 < out * 2.0**14
    if code in _ADDITIVE:
        bits = 14 if output.type == TensorType.INT16 else 19
        return min(scales) > 0 and max(scales) < out * 2.0**bits
    return True


def _scale(tensor: Tensor) -> float:
    """The scale of a tensor that has one for all of it, else 0."""
    return tensor.scales[0] if tensor.scales and tensor.scales[2] == 1 else 0.0
