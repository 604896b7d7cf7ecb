"""Refuses graphs that would end the process: the interpreter finds most of them, but not all.

`kgated convert` writes no such files, and the digest finds damage. But an attacker can recompute
the digest. The rules here cover what was seen to kill the interpreter: operators with too few
tensors or with tensors that nothing has written, a SPLIT whose number of outputs is wrong, integer
tensors without scales or with an out-of-range requantization multiplier, constants that are
written to. They do not prove that nothing else kills it.
"""

import math
from collections.abc import Iterable, Sequence

from kgated_edge.verifier.control_flow import check_calls, check_loops
from kgated_edge.verifier.flatbuffer_reader import (
    Graphs,
    Operator,
    Subgraph,
    Tensor,
    invalid_graph,
)
from kgated_edge.verifier.opcodes import Op, TensorType
from kgated_edge.verifier.operator_types import check_types

_INTEGER_LIMITS: dict[int, int] = {
    TensorType.INT16: 2**15,
    TensorType.INT8: 2**7,
    TensorType.INT4: 2**3,
}
_UNSUPPORTED_TYPES = (
    *(TensorType.STRING, TensorType.VARIANT),
    *(TensorType.COMPLEX64, TensorType.COMPLEX128),
)
_MIN_SCALE, _MAX_SCALE = 1e-30, 1e30
_MAX_ELEMENTS = 2**26  # of a tensor that is not a constant
_SPLIT_OPTIONS = 35
_LSTM = Op.UNIDIRECTIONAL_SEQUENCE_LSTM
# Inputs that an LSTM may lack: its input gate (all or none), peepholes, projection, normalization.
_LSTM_INPUT_GATE = {1, 5, 12}
_LSTM_OPTIONAL = _LSTM_INPUT_GATE | {9, 10, 11, 16, 17, 20, 21, 22, 23}
# Least inputs by operator, where it is more than one:
_MIN_INPUTS: dict[int, int] = {
    **dict.fromkeys((Op.ADD, Op.MUL, Op.SUB, Op.DIV, Op.MAXIMUM, Op.MINIMUM), 2),
    **dict.fromkeys((Op.SQUARED_DIFFERENCE, Op.LOGICAL_OR, Op.LOGICAL_AND), 2),
    **dict.fromkeys((Op.LESS, Op.GREATER, Op.GREATER_EQUAL, Op.LESS_EQUAL), 2),
    **dict.fromkeys((Op.EQUAL, Op.NOT_EQUAL), 2),
    **dict.fromkeys((Op.MEAN, Op.SUM, Op.REDUCE_MAX, Op.REDUCE_ANY), 2),
    **dict.fromkeys((Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED), 2),
    **dict.fromkeys((Op.RESHAPE, Op.GATHER, Op.TRANSPOSE, Op.SPLIT, Op.BATCH_MATMUL), 2),
    **dict.fromkeys((Op.ASSIGN_VARIABLE,), 2),
    **dict.fromkeys((Op.SELECT, Op.SLICE, Op.SELECT_V2, Op.DYNAMIC_UPDATE_SLICE), 3),
    **{Op.STRIDED_SLICE: 4, _LSTM: 20},
}
# Operators with optional inputs, such as the bias of CONV_2D: the first that may be left out.
_FIRST_OPTIONAL: dict[int, int] = {
    Op.CONV_2D: 2,
    Op.DEPTHWISE_CONV_2D: 2,
    Op.FULLY_CONNECTED: 2,
    Op.CONV_3D: 2,
    Op.CONV_3D_TRANSPOSE: 3,
    Op.TRANSPOSE_CONV: 3,
    _LSTM: 1,
}


def check_structure(content: bytes) -> None:
    """Checks every subgraph of a `.tflite` file.

    Raises:
        ManifestError: a rule is broken, or an offset points outside of the file.
    """
    graphs = Graphs(content)
    if not graphs.subgraphs:
        raise invalid_graph("it has no operators")
    for subgraph in graphs.subgraphs:
        for index, tensor in enumerate(subgraph.tensors):
            _check_tensor(tensor, index)
        for index, operator in enumerate(subgraph.operators):
            _check_operator(graphs, operator, index)
        _check_data_flow(subgraph)
        for index, operator in enumerate(subgraph.operators):
            check_types(graphs, operator, subgraph.tensors, index)
    check_calls(graphs)
    check_loops(graphs)
    _check_signatures(graphs)


def _check_tensor(tensor: Tensor, index: int) -> None:
    if tensor.type in _UNSUPPORTED_TYPES:
        raise invalid_graph(f"tensor {index} has the type {TensorType(tensor.type).name}")
    is_large = not tensor.has_data and math.prod(tensor.shape) > _MAX_ELEMENTS
    if is_large or min(tensor.shape, default=0) < 0:
        raise invalid_graph(f"tensor {index} has the shape {tensor.shape}")
    if tensor.type in _INTEGER_LIMITS:
        _check_quantization(tensor, index)


def _check_quantization(tensor: Tensor, index: int) -> None:
    what = f"tensor {index} is {TensorType(tensor.type).name.lower()}"
    limit = _INTEGER_LIMITS[tensor.type]
    scales, zeros = tensor.scales, tensor.zero_points
    if scales is None or zeros is None or scales[2] != zeros[2]:
        raise invalid_graph(f"{what} without scale and zero point")
    # Written so that NaN fails. With a scale per channel, that of a channel of zeros may be 0.
    minimum = _MIN_SCALE if scales[2] == 1 else 0
    if not (minimum <= scales[0] and scales[1] <= _MAX_SCALE):
        raise invalid_graph(f"{what} with scales from {scales[0]:g} to {scales[1]:g}")
    if zeros[0] < -limit or zeros[1] >= limit:
        raise invalid_graph(f"{what} with zero points from {zeros[0]} to {zeros[1]}")


def _check_operator(graphs: Graphs, operator: Operator, index: int) -> None:
    code, inputs, outputs = operator.code, len(operator.inputs), len(operator.outputs)
    min_inputs = _MIN_INPUTS.get(code, 0 if code in (Op.CALL_ONCE, Op.VAR_HANDLE) else 1)
    min_outputs = 0 if code in (Op.CALL_ONCE, Op.ASSIGN_VARIABLE) else 1
    is_incomplete = -1 in operator.inputs[: _FIRST_OPTIONAL.get(code)]
    if inputs < min_inputs or outputs < min_outputs or is_incomplete:
        raise invalid_graph(
            f"operator {index} lacks tensors: it has {inputs} inputs and {outputs} outputs"
        )
    if code == _LSTM:
        missing = {place for place, tensor in enumerate(operator.inputs) if tensor == -1}
        if not missing <= _LSTM_OPTIONAL or 0 < len(missing & _LSTM_INPUT_GATE) < 3:
            raise invalid_graph(f"operator {index} is an LSTM without its inputs {sorted(missing)}")
    if code == Op.SPLIT:
        has_options = operator.options_type == _SPLIT_OPTIONS
        if not has_options or graphs.option(operator, 0) != outputs:
            raise invalid_graph(f"operator {index} is a SPLIT into another number than {outputs}")


def _check_data_flow(subgraph: Subgraph) -> None:
    """Checks that each tensor is written before it is read, and no tensor is written twice."""
    tensors = subgraph.tensors
    _check_range(subgraph.inputs, len(tensors), "the subgraph's input")
    _check_range(subgraph.outputs, len(tensors), "the subgraph's output")
    if any(tensors[n].has_data or tensors[n].is_variable for n in subgraph.inputs):
        raise invalid_graph("an input of a subgraph is a constant or a variable")
    constants = {n for n, tensor in enumerate(tensors) if tensor.has_data}
    written = constants | set(subgraph.inputs)
    variables = {n for n, tensor in enumerate(tensors) if tensor.is_variable} - written
    read_variables = set[int]()
    for index, operator in enumerate(subgraph.operators):
        # Variables are states: those of the LSTM that reads them, or set to zero where it is none.
        own = variables if operator.code == _LSTM else variables.intersection(operator.outputs)
        _check_reads(operator, index, written, own)
        if read_variables and _has_repeated(operator.inputs, read_variables):
            raise invalid_graph(f"operator {index} reads a variable twice")
        if operator.code == Op.READ_VARIABLE:
            read_variables.update(operator.outputs)
        _check_writes(operator, index, written, len(tensors))
        written.update(set(operator.outputs) - variables)
    if not written.issuperset(subgraph.outputs):
        raise invalid_graph("nothing writes an output of a subgraph")


def _check_reads(operator: Operator, index: int, written: set[int], own: set[int]) -> None:
    for tensor in operator.inputs:
        if tensor != -1 and tensor not in written and tensor not in own:
            raise invalid_graph(f"operator {index} reads tensor {tensor} before it is written")


def _check_writes(operator: Operator, index: int, written: set[int], count: int) -> None:
    for tensor in operator.outputs:
        if not 0 <= tensor < count:
            raise invalid_graph(f"operator {index} writes tensor {tensor}, which does not exist")
        if tensor in written:
            raise invalid_graph(f"operator {index} writes tensor {tensor}, which is written before")


def _has_repeated(numbers: Sequence[int], among: set[int]) -> bool:
    return len(among.intersection(numbers)) < sum(number in among for number in numbers)


def _check_range(numbers: Iterable[int], count: int, what: str) -> None:
    for number in numbers:
        if not 0 <= number < count:
            raise invalid_graph(f"{what} is tensor {number} of {count}")


def _check_signatures(graphs: Graphs) -> None:
    for signature in graphs.signatures:
        if signature.subgraph >= len(graphs.subgraphs):
            raise invalid_graph(f"a signature refers to subgraph {signature.subgraph}")
        count = len(graphs.subgraphs[signature.subgraph].tensors)
        _check_range(signature.tensors, count, "a signature's entry")
