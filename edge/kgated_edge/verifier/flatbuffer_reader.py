"""The graphs of a `.tflite` file as plain data, read without trust in any of its offsets.

Unlike in `container`, tables that share a vtable share its reading: a file has thousands of tables
and a handful of vtables, and this stands before the first step of every model.
"""

import struct
from collections.abc import Callable
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np

from kgated_edge.errors import ManifestError

_CODES, _SUBGRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7  # of Model
_SLOTS = 13
_MOST_READ = 32  # items of vectors for each byte of the file
Unpack = Callable[[bytes, int], tuple[Any, ...]]
_F32, _I64, _I32, _U32, _U16 = (struct.Struct(f"<{one}").unpack_from for one in "fqiIH")


class Tensor(NamedTuple):
    """A tensor as the file describes it.

    Attributes:
        kind: its TensorType.
        shape: with the batch axis.
        has_data: whether its numbers stand in the file.
        is_variable: whether it is written by the operator that takes it.
        scales: (least, most, count) of the scales of its integers, None without.
        zero_points: the same of its zero points.
    """

    kind: int
    shape: tuple[int, ...]
    has_data: bool
    is_variable: bool
    scales: tuple[float, float, int] | None
    zero_points: tuple[int, int, int] | None


class Operator(NamedTuple):
    """An operator: its BuiltinOperator, its tensors by number, and where its options stand."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options_kind: int
    options: int


class Subgraph(NamedTuple):
    """Tensors, the numbers of those that it takes and gives, and operators in their order."""

    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


class Signature(NamedTuple):
    """The number of a subgraph, and of the tensors that a signature names in it."""

    subgraph: int
    tensors: list[int]


class Graphs:
    """All subgraphs of a file.

    Args:
        content: the file.

    Attributes:
        subgraphs: in their order.
        signatures: in their order.

    Raises:
        ManifestError: an offset, a buffer's or a kind's number leads out of the file.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._fields: dict[int, tuple[int, ...]] = {}
        # Vectors may be shared; many tables that share a long one would be read for hours.
        self._left = _MOST_READ * len(content)
        try:
            self._read()
        except (struct.error, IndexError):
            raise _outside() from None

    def number(self, operator: Operator, slot: int, form: str = "<I") -> Any:
        """A number among the options of an operator; 0 where it is absent."""
        try:
            return self._scalar(operator.options, slot, form) if operator.options else 0
        except (struct.error, IndexError):
            raise _outside() from None

    def _read(self) -> None:
        model = _U32(self._content, 0)[0]
        self._codes = [self._code(one) for one in self._tables(model, _CODES)]
        self._filled = [self._has_data(one) for one in self._tables(model, _BUFFERS)]
        self.subgraphs = [self._subgraph(one) for one in self._tables(model, _SUBGRAPHS)]
        self.signatures = [self._signature(one) for one in self._tables(model, _SIGNATURES)]

    def _tensor(self, place: int, table: int) -> Tensor:
        content, fields = self._content, self._slots(table)
        buffer = _U32(content, table + fields[2])[0] if fields[2] else 0
        if buffer >= len(self._filled):
            raise broken(f"tensor {place} is of a buffer that the file does not have")
        kind = content[table + fields[1]] if fields[1] else 0
        is_variable = fields[5] > 0 and content[table + fields[5]] > 0
        scales = zeros = None
        if fields[4]:
            quantization = table + fields[4] + _U32(content, table + fields[4])[0]
            slots = self._slots(quantization)
            scales = self._range(quantization, slots[2], _F32, "<f4")
            zeros = self._range(quantization, slots[3], _I64, "<i8")
        shape = self._integers(table, fields[0])
        return Tensor(kind, shape, self._filled[buffer], is_variable, scales, zeros)

    def _operator(self, place: int, table: int) -> Operator:
        content, fields = self._content, self._slots(table)
        index = _U32(content, table + fields[0])[0] if fields[0] else 0
        if index >= len(self._codes):
            raise broken(f"operator {place} is of a kind that the file does not name")
        kind, options = content[table + fields[3]] if fields[3] else 0, table + fields[4]
        options = options + _U32(content, options)[0] if fields[4] else 0
        inputs, outputs = self._integers(table, fields[1]), self._integers(table, fields[2])
        return Operator(self._codes[index], inputs, outputs, kind, options)

    def _subgraph(self, table: int) -> Subgraph:
        fields = self._slots(table)
        tensors = list(starmap(self._tensor, enumerate(self._tables(table, 0))))
        operators = list(starmap(self._operator, enumerate(self._tables(table, 3))))
        inputs, outputs = self._integers(table, fields[1]), self._integers(table, fields[2])
        return Subgraph(tensors, inputs, outputs, operators)

    def _signature(self, table: int) -> Signature:
        maps = [*self._tables(table, 0), *self._tables(table, 1)]
        return Signature(self._scalar(table, 4), [self._scalar(one, 1) for one in maps])

    def _code(self, table: int) -> int:
        """The kind of an operator; those up to 126 stand in a byte, as in older files too."""
        return max(int(self._scalar(table, 3, "<i")), int(self._scalar(table, 0, "<b")))

    def _has_data(self, table: int) -> bool:
        fields = self._slots(table)
        if fields[1] or fields[2]:
            raise broken("a buffer stands outside of its table")
        return bool(fields[0]) and self._vector(table + fields[0], 1)[1] > 0

    def _range(self, table: int, field: int, one: Unpack, dtype: str) -> Any:
        """Least and most of a vector, and how many; None where there are none."""
        if not field:
            return None
        start, count = self._vector(table + field, int(dtype[2]))
        if count < 2:
            return (*2 * one(self._content, start), 1) if count else None
        values = np.frombuffer(self._content, dtype, count, start)
        return values.min().item(), values.max().item(), count

    def _integers(self, table: int, field: int) -> tuple[int, ...]:
        if not field:
            return ()
        # As `_vector` and `_tables` say it, spelled out: most of what is read is read here.
        start = table + field + _U32(self._content, table + field)[0]
        (count,) = _U32(self._content, start)
        self._left -= count
        if self._left < 0:
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
        """Where a vector's items start, and how many there are; all are inside the file."""
        start = at + _U32(self._content, at)[0]
        (count,) = _U32(self._content, start)
        self._left -= count
        if start + 4 + width * count > len(self._content) or self._left < 0:
            raise IndexError
        return start + 4, count

    def _slots(self, table: int) -> tuple[int, ...]:
        """How far from the start of a table its fields stand; 0 for those that are absent."""
        vtable = table - _I32(self._content, table)[0]
        found = self._fields.get(vtable)
        if found is None:
            # A negative offset counts from the end; here it only means a damaged file.
            if vtable < 0:
                raise IndexError
            count = max(0, min((_U16(self._content, vtable)[0] - 4) // 2, _SLOTS))
            found = struct.unpack_from(f"<{count}H", self._content, vtable + 4)
            self._fields[vtable] = found = found + (0,) * (_SLOTS - count)
        return found


def broken(what: str) -> ManifestError:
    """The error for a graph that breaks a rule."""
    return ManifestError(f"its graph is broken, {what}: copy or convert it again")


def _outside() -> ManifestError:
    return broken("an offset leads out of the file")
