"""Refuses graphs that would end the process: the interpreter finds most of them, but not all.

Files of `kgated convert` are none of these, and damage is found by the digest. But a digest can be
made to fit. The rules here are of what was seen to kill: operators with too few tensors, SPLIT into
another number than it has results, integers without scales, tensors of no buffer. They are no proof
that nothing else will.
"""

import numpy as np

from kgated_edge.container import byte, field, tables, unsigned, vector
from kgated_edge.errors import ManifestError

_CODES, _SUBGRAPHS, _BUFFERS = 1, 2, 4  # of Model
_TENSORS, _OPERATORS = 0, 3  # of SubGraph
_TYPE, _BUFFER, _QUANTIZATION, _SCALE, _ZERO_POINT = 1, 2, 4, 2, 3
_OPCODE, _INPUTS, _OUTPUTS, _OPTIONS_TYPE, _OPTIONS = 0, 1, 2, 3, 4  # of Operator
_OLD_CODE, _CODE = 0, 3
_INTEGERS = {7: "int16", 9: "int8", 17: "int4"}
_SPLIT_OPTIONS = 35
_SPLIT, _CALL_ONCE, _VAR_HANDLE, _ASSIGN_VARIABLE = 49, 129, 142, 144
# Fewest inputs by operator, where there are more than one:
_FEWEST = {
    **dict.fromkeys((0, 18, 41, 42, 55, 57, 99), 2),  # ADD MUL SUB DIV MAXIMUM MINIMUM (a - b)²
    **dict.fromkeys((58, 61, 62, 63, 71, 72, 84, 86), 2),  # comparisons, LOGICAL_OR and _AND
    **dict.fromkeys((40, 74, 82, 91), 2),  # MEAN SUM REDUCE_MAX REDUCE_ANY
    **dict.fromkeys((3, 4, 9, 22, 36, 49, 126, 144), 2),  # CONV_2D FULLY_CONNECTED RESHAPE GATHER
    **dict.fromkeys((64, 65, 123, 151), 3),  # SELECT SLICE SELECT_V2 DYNAMIC_UPDATE_SLICE
    **{45: 4, 44: 20},  # STRIDED_SLICE UNIDIRECTIONAL_SEQUENCE_LSTM
}


def check_structure(content: bytes) -> None:
    """Checks every subgraph of a `.tflite` file.

    Raises:
        ManifestError: a rule is broken, or an offset leads out of the file.
    """
    model = unsigned(content, 0)
    codes = [_code(content, one) for one in tables(content, model, _CODES)]
    buffers = len(tables(content, model, _BUFFERS))
    for subgraph in tables(content, model, _SUBGRAPHS):
        for place, tensor in enumerate(tables(content, subgraph, _TENSORS)):
            _check_tensor(content, tensor, buffers, place)
        for place, operator in enumerate(tables(content, subgraph, _OPERATORS)):
            _check_operator(content, operator, codes, place)


def _check_tensor(content: bytes, tensor: int, buffers: int, place: int) -> None:
    at = field(content, tensor, _BUFFER)
    if at and unsigned(content, at) >= buffers:
        raise _broken(f"tensor {place} is of a buffer that the file does not have")
    at = field(content, tensor, _TYPE)
    name = _INTEGERS.get(byte(content, at)) if at else None
    if name is None:
        return
    at = field(content, tensor, _QUANTIZATION)
    quantization = at + unsigned(content, at) if at else None
    scales = b"" if quantization is None else _items(content, quantization, _SCALE, 4)
    zeros = b"" if quantization is None else _items(content, quantization, _ZERO_POINT, 8)
    values = np.frombuffer(scales, "<f4")
    good = len(values) and 2 * len(scales) == len(zeros) and np.isfinite(values).all()
    if not good or values.min() < 0:
        raise _broken(f"tensor {place} is {name} without scale and zero point")


def _check_operator(content: bytes, operator: int, codes: list[int], place: int) -> None:
    at = field(content, operator, _OPCODE)
    index = unsigned(content, at) if at else 0
    if index >= len(codes):
        raise _broken(f"operator {place} is of a kind that the file does not name")
    code = codes[index]
    inputs = len(_items(content, operator, _INPUTS, 4)) // 4
    outputs = len(_items(content, operator, _OUTPUTS, 4)) // 4
    fewest = _FEWEST.get(code, 0 if code in (_CALL_ONCE, _VAR_HANDLE) else 1)
    least = 0 if code in (_CALL_ONCE, _ASSIGN_VARIABLE) else 1
    if inputs < fewest or outputs < least:
        raise _broken(f"operator {place} takes {inputs} tensors and gives {outputs}")
    if code == _SPLIT and _split_count(content, operator) != outputs:
        raise _broken(f"operator {place} splits into another number than it gives, {outputs}")


def _split_count(content: bytes, operator: int) -> int:
    kind, at = field(content, operator, _OPTIONS_TYPE), field(content, operator, _OPTIONS)
    if not kind or byte(content, kind) != _SPLIT_OPTIONS or not at:
        return 0
    count = field(content, at + unsigned(content, at), 0)
    return unsigned(content, count) if count else 0


def _code(content: bytes, table: int) -> int:
    """The kind of an operator; those up to 126 stand in a byte, as they did in older files too."""
    at, old = field(content, table, _CODE), field(content, table, _OLD_CODE)
    return max(unsigned(content, at) if at else 0, byte(content, old) if old else 0)


def _items(content: bytes, table: int, slot: int, size: int) -> bytes:
    """The bytes of a vector; none where it is absent."""
    at = field(content, table, slot)
    return content[slice(*vector(content, at, size))] if at else b""


def _broken(what: str) -> ManifestError:
    return ManifestError(f"its graph is broken, {what}: copy or convert it again")
