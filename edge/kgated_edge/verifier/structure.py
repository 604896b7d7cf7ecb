"""Refuses graphs that would end the process: the interpreter finds most of them, but not all.

Files of `kgated convert` are none of these, and damage is found by the digest. But a digest can be
made to fit. The rules here are of what was seen to kill: operators with too few tensors, or with
such as nobody has filled yet, SPLIT into another number than it has results, integers without
scales or with such as no multiplier stands for, constants written to. They are no proof that
nothing else will.
"""

import math
from collections.abc import Iterable, Sequence

from kgated_edge.verifier.control_flow import check_calls, check_loops
from kgated_edge.verifier.flatbuffer_reader import Graphs, Operator, Subgraph, Tensor, broken
from kgated_edge.verifier.operator_types import check_types

_LIMITS = {7: ("int16", 2**15), 9: ("int8", 2**7), 17: ("int4", 2**3)}
_NO_NUMBERS = {5: "text", 8: "complex", 11: "complex", 14: "variant"}
_LEAST_SCALE, _MOST_SCALE = 1e-30, 1e30
_MOST_NUMBERS = 2**26  # beside those that stand in the file
_LSTM, _SPLIT, _CALL_ONCE = 44, 49, 129
_VAR_HANDLE, _READ_VARIABLE, _ASSIGN_VARIABLE = 142, 143, 144
_SPLIT_OPTIONS = 35
# Of an LSTM its input gate, all of it, peepholes, projection and layer normalization.
_LSTM_INPUT_GATE = {1, 5, 12}
_LSTM_OPTIONAL = _LSTM_INPUT_GATE | {9, 10, 11, 16, 17, 20, 21, 22, 23}
# Fewest inputs by operator, where there are more than one:
_FEWEST = {
    **dict.fromkeys((0, 18, 41, 42, 55, 57, 99), 2),  # ADD MUL SUB DIV MAXIMUM MINIMUM (a - b)²
    **dict.fromkeys((58, 61, 62, 63, 71, 72, 84, 86), 2),  # comparisons, LOGICAL_OR and _AND
    **dict.fromkeys((40, 74, 82, 91), 2),  # MEAN SUM REDUCE_MAX REDUCE_ANY
    **dict.fromkeys((3, 4, 9, 22, 36), 2),  # CONV_2D DEPTHWISE_ FULLY_CONNECTED RESHAPE GATHER
    **dict.fromkeys((39, 49, 126, 144), 2),  # TRANSPOSE SPLIT BATCH_MATMUL ASSIGN_VARIABLE
    **dict.fromkeys((64, 65, 123, 151), 3),  # SELECT SLICE SELECT_V2 DYNAMIC_UPDATE_SLICE
    **{45: 4, _LSTM: 20},  # STRIDED_SLICE
}
# From which input on one may be left out, as the bias of CONV_2D, where one may:
_OPTIONAL = {3: 2, 4: 2, 9: 2, 132: 2, 67: 3, _LSTM: 1}


def check_structure(content: bytes) -> None:
    """Checks every subgraph of a `.tflite` file.

    Raises:
        ManifestError: a rule is broken, or an offset leads out of the file.
    """
    graphs = Graphs(content)
    if not graphs.subgraphs:
        raise broken("it has no operators")
    for subgraph in graphs.subgraphs:
        for place, tensor in enumerate(subgraph.tensors):
            _check_tensor(tensor, place)
        for place, operator in enumerate(subgraph.operators):
            _check_operator(graphs, operator, place)
        _check_flow(subgraph)
        for place, operator in enumerate(subgraph.operators):
            check_types(graphs, operator, subgraph.tensors, place)
    check_calls(graphs)
    check_loops(graphs)
    _check_signatures(graphs)


def _check_tensor(tensor: Tensor, place: int) -> None:
    if tensor.kind in _NO_NUMBERS:
        raise broken(f"tensor {place} is of {_NO_NUMBERS[tensor.kind]}")
    is_large = not tensor.has_data and math.prod(tensor.shape) > _MOST_NUMBERS
    if is_large or min(tensor.shape, default=0) < 0:
        raise broken(f"tensor {place} is of the shape {tensor.shape}")
    if tensor.kind not in _LIMITS:
        return
    name, limit = _LIMITS[tensor.kind]
    scales, zeros = tensor.scales, tensor.zero_points
    if scales is None or zeros is None or scales[2] != zeros[2]:
        raise broken(f"tensor {place} is {name} without scale and zero point")
    # Written so that NaN is none; a channel of zeros may have a scale of zero.
    least = _LEAST_SCALE if scales[2] == 1 else 0
    if not (least <= scales[0] and scales[1] <= _MOST_SCALE):
        raise broken(f"tensor {place} is {name} of scale {scales[0]:g} to {scales[1]:g}")
    if zeros[0] < -limit or zeros[1] >= limit:
        raise broken(f"tensor {place} is {name} of zero point {zeros[0]} to {zeros[1]}")


def _check_operator(graphs: Graphs, operator: Operator, place: int) -> None:
    code, inputs, outputs = operator.code, len(operator.inputs), len(operator.outputs)
    fewest = _FEWEST.get(code, 0 if code in (_CALL_ONCE, _VAR_HANDLE) else 1)
    least = 0 if code in (_CALL_ONCE, _ASSIGN_VARIABLE) else 1
    if inputs < fewest or outputs < least or -1 in operator.inputs[: _OPTIONAL.get(code)]:
        raise broken(f"operator {place} takes {inputs} tensors and gives {outputs}")
    if code == _LSTM:
        missing = {place for place, one in enumerate(operator.inputs) if one == -1}
        if not missing <= _LSTM_OPTIONAL or 0 < len(missing & _LSTM_INPUT_GATE) < 3:
            raise broken(f"operator {place} is an LSTM without {sorted(missing)} of its tensors")
    if code == _SPLIT:
        known = operator.options_kind == _SPLIT_OPTIONS
        if not known or graphs.number(operator, 0) != outputs:
            raise broken(f"operator {place} splits into another number than it gives, {outputs}")


def _check_flow(subgraph: Subgraph) -> None:
    """Each tensor that is taken is filled by then, and none is filled twice."""
    tensors, taken = subgraph.tensors, subgraph.inputs
    _check_numbers(taken, len(tensors), "takes")
    _check_numbers(subgraph.outputs, len(tensors), "gives")
    if any(tensors[one].has_data or tensors[one].is_variable for one in taken):
        raise broken("it takes a tensor whose numbers stand in the file")
    filled = {place for place, one in enumerate(tensors) if one.has_data} | set(taken)
    variables = {place for place, one in enumerate(tensors) if one.is_variable} - filled
    read = set[int]()
    for place, operator in enumerate(subgraph.operators):
        # Variables are states: of the LSTM that takes them, or set to zero where they are.
        own = variables if operator.code == _LSTM else variables.intersection(operator.outputs)
        for one in operator.inputs:
            if one != -1 and one not in filled and one not in own:
                raise broken(f"operator {place} takes tensor {one}, which nothing has filled")
        if read and _has_twice(operator.inputs, read):
            raise broken(f"operator {place} takes a variable twice")
        if operator.code == _READ_VARIABLE:
            read.update(operator.outputs)
        for one in operator.outputs:
            if not 0 <= one < len(tensors) or one in filled:
                raise broken(f"operator {place} gives tensor {one}, which is filled already")
        filled.update(set(operator.outputs) - variables)
    if not filled.issuperset(subgraph.outputs):
        raise broken("it gives a tensor that nothing fills")


def _has_twice(numbers: Sequence[int], among: set[int]) -> bool:
    return len(among.intersection(numbers)) < sum(one in among for one in numbers)


def _check_numbers(numbers: Iterable[int], count: int, what: str) -> None:
    for number in numbers:
        if not 0 <= number < count:
            raise broken(f"it {what} tensor {number} of {count}")


def _check_signatures(graphs: Graphs) -> None:
    for signature in graphs.signatures:
        if signature.subgraph >= len(graphs.subgraphs):
            raise broken(f"a signature is of subgraph {signature.subgraph}")
        count = len(graphs.subgraphs[signature.subgraph].tensors)
        _check_numbers(signature.tensors, count, "names")
