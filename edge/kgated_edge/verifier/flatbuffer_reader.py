"""The graphs of a `.tflite` file as plain data, read without trust in any of its offsets.

Unlike `tflite_file`, this caches vtables: a file has thousands of tables and a handful of vtables,
and every model is read here before its first step.
"""

import struct
from collections.abc import Callable
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np

from kgated_edge.errors import ManifestError

_CODES, _SUBGRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7  # of Model
_SLOTS = 13
_MAX_ITEMS_PER_BYTE = 32  # items read from vectors, for each byte of the file
Unpack = Callable[[bytes, int], tuple[Any, ...]]
_F32, _I64, _I32, _U32, _U16 = (struct.Struct(f"<{form}").unpack_from for form in "fqiIH")


class Tensor(NamedTuple):
    """A tensor as the file describes it.

    Attributes:
        type: its TensorType.
        shape: with the batch axis.
        has_data: whether it is a constant, stored in the file.
        is_variable: whether the operator that reads it also writes it.
        scales: (minimum, maximum, count) of its scales, None without.
        zero_points: the same of its zero points.
    """

    type: int
    shape: tuple[int, ...]
    has_data: bool
    is_variable: bool
    scales: tuple[float, float, int] | None
    zero_points: tuple[int, int, int] | None


class Operator(NamedTuple):
    """An operator: its BuiltinOperator, indices of its tensors, type and offset of its options."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_type: int
    options: int


class Subgraph(NamedTuple):
    """Tensors, indices of the inputs and outputs among them, and operators in order."""

    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


class Signature(NamedTuple):
    """The index of a subgraph, and of the tensors in it that a signature names."""

    subgraph: int
    tensors: list[int]


class Graphs:
    """All subgraphs of a file.

    Args:
        content: the file.

    Attributes:
        subgraphs: in the file's order.
        signatures: in the file's order.

    Raises:
        ManifestError: an offset, or an index of a buffer or operator code, is out of range.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._vtables: dict[int, tuple[int, ...]] = {}
        # Many tables may share one long vector; without a limit, reading it would take hours.
        self._items_left = _MAX_ITEMS_PER_BYTE * len(content)
        try:
            self._read()
        except (struct.error, IndexError):
            raise _outside() from None

    def option(self, operator: Operator, slot: int, form: str = "<I") -> Any:
        """A value of an operator's options; 0 where it is absent."""
        try:
            return self._scalar(operator.options, slot, form) if operator.options else 0
        except (struct.error, IndexError):
            raise _outside() from None

    def _read(self) -> None:
        model = _U32(self._content, 0)[0]
        self._codes = [self._code(table) for table in self._tables(model, _CODES)]
        self._buffer_has_data = [self._has_data(table) for table in self._tables(model, _BUFFERS)]
        self.subgraphs = [self._subgraph(table) for table in self._tables(model, _SUBGRAPHS)]
        self.signatures = [self._signature(table) for table in self._tables(model, _SIGNATURES)]

    def _tensor(self, index: int, table: int) -> Tensor:
        content, fields = self._content, self._slots(table)
        buffer = _U32(content, table + fields[2])[0] if fields[2] else 0
        if buffer >= len(self._buffer_has_data):
            raise invalid_graph(f"tensor {index} refers to a buffer that does not exist")
        type_ = content[table + fields[1]] if fields[1] else 0
        is_variable = fields[5] > 0 and content[table + fields[5]] > 0
        scales = zeros = None
        if fields[4]:
            quantization = table + fields[4] + _U32(content, table + fields[4])[0]
            slots = self._slots(quantization)
            scales = self._range(quantization, slots[2], _F32, "<f4")
            zeros = self._range(quantization, slots[3], _I64, "<i8")
        shape = self._integers(table, fields[0])
        return Tensor(type_, shape, self._buffer_has_data[buffer], is_variable, scales, zeros)

    def _operator(self, index: int, table: int) -> Operator:
        content, fields = self._content, self._slots(table)
        code = _U32(content, table + fields[0])[0] if fields[0] else 0
        if code >= len(self._codes):
            raise invalid_graph(f"operator {index} refers to a code that does not exist")
        options_type = content[table + fields[3]] if fields[3] else 0
        options = table + fields[4]
        options = options + _U32(content, options)[0] if fields[4] else 0
        inputs, outputs = self._integers(table, fields[1]), self._integers(table, fields[2])
        return Operator(self._codes[code], inputs, outputs, options_type, options)

    def _subgraph(self, table: int) -> Subgraph:
        fields = self._slots(table)
        tensors = list(starmap(self._tensor, enumerate(self._tables(table, 0))))
        operators = list(starmap(self._operator, enumerate(self._tables(table, 3))))
        inputs, outputs = self._integers(table, fields[1]), self._integers(table, fields[2])
        return Subgraph(tensors, inputs, outputs, operators)

    def _signature(self, table: int) -> Signature:
        maps = [*self._tables(table, 0), *self._tables(table, 1)]
        return Signature(self._scalar(table, 4), [self._scalar(entry, 1) for entry in maps])

    def _code(self, table: int) -> int:
        """A BuiltinOperator; one up to 126 may be stored in a byte, as in older files."""
        return max(int(self._scalar(table, 3, "<i")), int(self._scalar(table, 0, "<b")))

    def _has_data(self, table: int) -> bool:
        fields = self._slots(table)
        if fields[1] or fields[2]:
            raise invalid_graph("a buffer is stored outside of the flatbuffer")
        return bool(fields[0]) and self._vector(table + fields[0], 1)[1] > 0

    def _range(self, table: int, field: int, unpack: Unpack, dtype: str) -> Any:
        """Minimum, maximum and count of a vector; None where it is empty."""
        if not field:
            return None
        start, count = self._vector(table + field, int(dtype[2]))
        if count < 2:
            return (*2 * unpack(self._content, start), 1) if count else None
        values = np.frombuffer(self._content, dtype, count, start)
        return values.min().item(), values.max().item(), count

    def _integers(self, table: int, field: int) -> tuple[int, ...]:
        if not field:
            return ()
        # `_vector` inlined: most of the file is read here.
        start = table + field + _U32(self._content, table + field)[0]
        (count,) = _U32(self._content, start)
        self._items_left -= count
        if self._items_left < 0:
            raise IndexError
        return struct.unpack_from(f"<{count}i", self._content, start + 4)

    def _tables(self, table: int, slot: int) -> list[int]:
        field = self._slots(table)[slot]
        if not field:
            return []
        start, count = self._vector(table + field, 4)
        offsets = struct.unpack_from(f"<{count}I", self._content, start)
        return [start + 4 * place + offset for place, offset in enumerate(offsets)]

    def _scalar(self, table: int, slot: int, form: str = "<I") -> Any:
        field = self._slots(table)[slot]
        return struct.unpack_from(form, self._content, table + field)[0] if field else 0

    def _vector(self, at: int, width: int) -> tuple[int, int]:
        """Offset of a vector's first item, and the count of items; all are inside the file."""
        start = at + _U32(self._content, at)[0]
        (count,) = _U32(self._content, start)
        self._items_left -= count
        if start + 4 + width * count > len(self._content) or self._items_left < 0:
            raise IndexError
        return start + 4, count

    def _slots(self, table: int) -> tuple[int, ...]:
        """Offsets of a table's fields from its start; 0 for those that are absent."""
        vtable = table - _I32(self._content, table)[0]
        slots = self._vtables.get(vtable)
        if slots is None:
            # Python counts a negative offset from the end; here it only means a damaged file.
            if vtable < 0:
                raise IndexError
            count = max(0, min((_U16(self._content, vtable)[0] - 4) // 2, _SLOTS))
            slots = struct.unpack_from(f"<{count}H", self._content, vtable + 4)
            self._vtables[vtable] = slots = slots + (0,) * (_SLOTS - count)
        return slots


def invalid_graph(what: str) -> ManifestError:
    """The error for a graph that breaks a rule."""
    return ManifestError(f"its graph is invalid, {what}: copy or convert it again")


def _outside() -> ManifestError:
    return invalid_graph("an offset points outside of the file")
