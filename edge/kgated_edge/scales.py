"""Types and scales around an operator that the interpreter ends the process over.

It makes a multiplier out of the scales; each rule is of one operator and says which there is.
"""

from collections.abc import Sequence

from kgated_edge.graph import Graphs, Operator, Tensor, broken

_INT16 = 7
_INTEGERS = (3, _INT16, 9, 17)
_ADD, _SUB, _SOFTMAX = 0, 41, 25
# ADD LOGISTIC MUL RELU TANH SUB MAXIMUM MINIMUM: in one type all the way
_ALIKE = (_ADD, 14, 18, 19, 28, _SUB, 55, 57)
_SOFTMAX_LEAST = 2.0**-26


def check_ranges(graphs: Graphs, operator: Operator, tensors: Sequence[Tensor], place: int) -> None:
    """Checks the scales around one operator; its tensors' numbers are known to be good.

    Raises:
        ManifestError: no multiplier stands for them.
    """
    code, given = operator.code, tensors[operator.outputs[0]] if operator.outputs else None
    if given is None or code not in (*_ALIKE, _SOFTMAX):
        return
    taken = [tensors[one] for one in operator.inputs if one >= 0]
    if code in _ALIKE and any(one.kind != given.kind for one in taken):
        raise broken(f"operator {place} takes other types than it gives")
    if given.kind not in _INTEGERS:
        return
    if code == _SOFTMAX:
        good = _scale(taken[0]) * graphs.number(operator, 0, "<f") > _SOFTMAX_LEAST
    elif code in (_ADD, _SUB):
        # Integers are shifted up by 20 bits, or 15, added, and brought down to the result's scale.
        most = _scale(given) * 2.0 ** (14 if given.kind == _INT16 else 19)
        good = max(map(_scale, taken)) < most
    else:
        good = True
    if not good:
        raise broken(f"operator {place} has scales that no multiplier stands for")


def _scale(tensor: Tensor) -> float:
    return tensor.scales[0] if tensor.scales else 0.0
