"""Types and scales around an operator that the interpreter ends the process over.

It makes a multiplier out of the scales; each rule is of one operator and says which there is.
"""

from collections.abc import Sequence

from kgated_edge.graph import Graphs, Operator, Tensor, broken

_INT16 = 7
_INTEGERS = (3, _INT16, 9, 17)
_RESOURCE = 13
_ADD, _SUB, _SOFTMAX = 0, 41, 25
_VAR_HANDLE = 142
_HANDLES = (_VAR_HANDLE, 143, 144)  # READ_VARIABLE ASSIGN_VARIABLE
# ADD LOGISTIC MUL RELU TANH SUB MAXIMUM MINIMUM: in one type all the way
_ALIKE = (_ADD, 14, 18, 19, 28, _SUB, 55, 57)
_SOFTMAX_LEAST = 2.0**-26


def check_types(graphs: Graphs, operator: Operator, tensors: Sequence[Tensor], place: int) -> None:
    """Checks the tensors around one operator; their numbers are known to be good.

    Raises:
        ManifestError: they do not go together.
    """
    code, takes = operator.code, [tensors[one] for one in operator.inputs if one >= 0]
    if code in _HANDLES:
        handle = tensors[(operator.outputs if code == _VAR_HANDLE else operator.inputs)[0]]
        if handle.kind != _RESOURCE:
            raise broken(f"operator {place} is of a variable, and names none")
    if code not in (*_ALIKE, _SOFTMAX):
        return
    gives = tensors[operator.outputs[0]]
    if code in _ALIKE and any(one.kind != gives.kind for one in takes):
        raise broken(f"operator {place} takes other types than it gives")
    scales = list(map(_scale, takes))
    if gives.kind not in _INTEGERS or code not in (_ADD, _SUB, _SOFTMAX):
        return
    if code == _SOFTMAX:
        good = scales[0] * graphs.number(operator, 0, "<f") > _SOFTMAX_LEAST
    else:
        # Integers are shifted up by 20 bits, or 15, added, and brought down to the result's scale.
        most = _scale(gives) * 2.0 ** (14 if gives.kind == _INT16 else 19)
        good = min(scales) > 0 and max(scales) < most
    if not good:
        raise broken(f"operator {place} has scales that no multiplier stands for")


def _scale(tensor: Tensor) -> float:
    """The scale of all of a tensor; 0 where there is none, or one per channel."""
    return tensor.scales[0] if tensor.scales and tensor.scales[2] == 1 else 0.0
