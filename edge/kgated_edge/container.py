"""Finds a metadata entry in the bytes of a `.tflite` file, whatever those bytes are.

A FlatBuffer is a graph of offsets. The generated accessors trust them; the readers here check each
one against the file's size, so that a damaged file ends in a `ManifestError` and never in a long
loop or a large allocation. They need three fields of two tables: `Model.metadata`, `Model.buffers`
and `Buffer.data`.
"""

import struct

from kgated_edge.errors import ManifestError

_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_MOST_ENTRIES = 100_000


def metadata_span(data: bytes, name: bytes) -> tuple[int, int] | None:
    """The place of a metadata entry's buffer in a `.tflite` file.

    Args:
        data: the whole file.
        name: the entry's name.

    Returns:
        (start, end) offsets of the buffer's bytes, or None when there is no entry of that name.

    Raises:
        ManifestError: an offset or length in the file points outside it.
    """
    model = _indirect(data, 0)
    spans = [_buffer_span(data, table) for table in tables(data, model, _MODEL_BUFFERS)]
    for entry in tables(data, model, _MODEL_METADATA):
        start, end = vector(data, field(data, entry, _METADATA_NAME), 1)
        if data[start:end] == name:
            return _entry_span(data, entry, spans)
    return None


def _entry_span(data: bytes, entry: int, spans: list[tuple[int, int]]) -> tuple[int, int]:
    at = field(data, entry, _METADATA_BUFFER)
    index = unsigned(data, at) if at else 0
    if index >= len(spans):
        raise damaged()
    return spans[index]


def _buffer_span(data: bytes, table: int) -> tuple[int, int]:
    at = field(data, table, _BUFFER_DATA)
    return vector(data, at, 1) if at else (0, 0)


def tables(data: bytes, table: int, slot: int) -> list[int]:
    """Positions of the tables in a vector of tables; empty when the field is absent."""
    at = field(data, table, slot)
    start, end = vector(data, at, 4) if at else (0, 0)
    if end - start > 4 * _MOST_ENTRIES:
        raise damaged()
    return [_indirect(data, entry) for entry in range(start, end, 4)]


def field(data: bytes, table: int, slot: int) -> int:
    """Position of a table's field, 0 when it is absent."""
    vtable = table - _read(data, table, "<i")
    place = 4 + 2 * slot
    if place >= _read(data, vtable, "<H"):
        return 0
    offset = _read(data, vtable + place, "<H")
    return table + offset if offset else 0


def vector(data: bytes, at: int, item_size: int) -> tuple[int, int]:
    """(start, end) of a vector's items, both inside the file."""
    start = _indirect(data, at)
    end = start + 4 + item_size * unsigned(data, start)
    if end > len(data):
        raise damaged()
    return start + 4, end


def _indirect(data: bytes, at: int) -> int:
    return at + unsigned(data, at)


def unsigned(data: bytes, at: int) -> int:
    """The four bytes at a position."""
    return _read(data, at, "<I")


def byte(data: bytes, at: int) -> int:
    """The byte at a position."""
    return _read(data, at, "<B")


def _read(data: bytes, at: int, form: str) -> int:
    # struct counts a negative offset from the end; here it only means a damaged file.
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise damaged()
    value: int = struct.unpack_from(form, data, at)[0]
    return value


def damaged() -> ManifestError:
    """The error for a file whose offsets lead nowhere."""
    return ManifestError("the file is cut short or damaged: copy it again")
