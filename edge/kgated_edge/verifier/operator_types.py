"""Types and scales around an operator that the interpreter ends the process over.

It makes a multiplier out of the scales; each rule is of one operator and says which there is.
"""

import math
from collections.abc import Sequence

from kgated_edge.verifier.flatbuffer_reader import Graphs, Operator, Tensor, broken

_INT16 = 7
_INTEGERS = (3, _INT16, 9, 17)
_RESOURCE = 13
_INT32, _INT64 = 2, 4
_ADD, _SUB, _SOFTMAX, _SQUARED_DIFFERENCE = 0, 41, 25, 99
# RESHAPE TRANSPOSE STRIDED_SLICE SLICE: which inputs are whole numbers, one for each axis
_NUMBERS = {22: (1,), 39: (1,), 45: (1, 2, 3), 65: (1, 2)}
_MOST_AXES = 8
_VAR_HANDLE = 142
_HANDLES = (_VAR_HANDLE, 143, 144)  # READ_VARIABLE ASSIGN_VARIABLE
# ADD LOGISTIC MUL RELU TANH SUB MAXIMUM MINIMUM: in one type all the way
_ALIKE = (_ADD, 14, 18, 19, 28, _SUB, 55, 57)
_JUDGED = {*_HANDLES, *_ALIKE, *_NUMBERS, _SOFTMAX, _SQUARED_DIFFERENCE}
_SOFTMAX_LEAST = 2.0**-26


def check_types(graphs: Graphs, operator: Operator, tensors: Sequence[Tensor], place: int) -> None:
    """Checks the tensors around one operator; their numbers are known to be good.

    Raises:
        ManifestError: they do not go together.
    """
    code = operator.code
    if code not in _JUDGED:
        return
    if code in _HANDLES:
        handle = tensors[(operator.outputs if code == _VAR_HANDLE else operator.inputs)[0]]
        if handle.kind != _RESOURCE:
            raise broken(f"operator {place} is of a variable, and names none")
    for number in _NUMBERS.get(code, ()):
        numbers = tensors[operator.inputs[number]]
        if numbers.kind not in (_INT32, _INT64) or math.prod(numbers.shape) > _MOST_AXES:
            raise broken(f"operator {place} takes other numbers than one for each axis")
    if not operator.outputs:
        return
    gives = tensors[operator.outputs[0]]
    takes = [tensors[one] for one in operator.inputs if one >= 0]
    if code in _ALIKE and any(one.kind != gives.kind for one in takes):
        raise broken(f"operator {place} takes other types than it gives")
    if gives.kind in _INTEGERS and not _has_multiplier(graphs, operator, takes, gives):
        raise broken(f"operator {place} has scales that no multiplier stands for")


def _has_multiplier(
    graphs: Graphs, operator: Operator, takes: Sequence[Tensor], gives: Tensor
) -> bool:
    code, scales, out = operator.code, list(map(_scale, takes)), _scale(gives)
    if code == _SOFTMAX:
        return bool(scales[0] * graphs.number(operator, 0, "<f") > _SOFTMAX_LEAST)
    if code not in (_ADD, _SUB, _SQUARED_DIFFERENCE):
        return True
    # Integers are shifted up by 20 bits, 15, or 7 each before they are multiplied, and brought down
    # to the result's scale.
    if code == _SQUARED_DIFFERENCE:
        return min(scales) > 0 and (2 * max(scales)) ** 2 < out * 2.0**14
    return min(scales) > 0 and max(scales) < out * 2.0 ** (14 if gives.kind == _INT16 else 19)


def _scale(tensor: Tensor) -> float:
    """The scale of all of a tensor; 0 where there is none, or one per channel."""
    return tensor.scales[0] if tensor.scales and tensor.scales[2] == 1 else 0.0
