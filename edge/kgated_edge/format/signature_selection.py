"""A file with several signatures as the file of one of them, for an interpreter of its own.

An interpreter prepares every subgraph of a file, with packed weights for each, and runs the first
by `invoke()`. So each step gets a file in which its subgraph is the only one.
"""

import struct

from kgated_edge.errors import ManifestError

_SUBGRAPHS, _SIGNATURES = 2, 7  # of Model
_KEY, _SUBGRAPH = 2, 4  # of SignatureDef


def select_signature(content: bytes, signature: str) -> bytes:
    """The file with one signature and its subgraph; weights of others stay in it, unused.

    Args:
        content: a file whose structure was checked, with no control flow between subgraphs.
        signature: its name.

    Raises:
        ManifestError: the file has no such signature.
    """
    data = bytearray(content)
    (model,) = struct.unpack_from("<I", data)
    signatures = _vector(data, model, _SIGNATURES)
    for place in _places(data, signatures):
        table = place + _number(data, place)
        if _text(data, table) == signature.encode():
            field = _field(data, table, _SUBGRAPH)
            subgraph = _number(data, field) if field else 0
            if field:
                struct.pack_into("<I", data, field, 0)
            _keep_only(data, signatures, place)
            subgraphs = _vector(data, model, _SUBGRAPHS)
            _keep_only(data, subgraphs, subgraphs + 4 + 4 * subgraph)
            return bytes(data)
    raise ManifestError(f"it has no signature '{signature}': convert it again")


def _keep_only(data: bytearray, vector: int, place: int) -> None:
    """Let a vector of tables have one entry, the one at that offset."""
    target = place + _number(data, place)
    struct.pack_into("<II", data, vector, 1, target - (vector + 4))


def _places(data: bytearray, vector: int) -> range:
    """The offsets of a vector's entries."""
    return range(vector + 4, vector + 4 + 4 * _number(data, vector), 4)


def _text(data: bytearray, table: int) -> bytes:
    start = _vector(data, table, _KEY)
    return bytes(data[start + 4 : start + 4 + _number(data, start)])


def _vector(data: bytearray, table: int, slot: int) -> int:
    """The offset of a vector's length."""
    field = _field(data, table, slot)
    return field + _number(data, field)


def _field(data: bytearray, table: int, slot: int) -> int:
    """The offset of a table's field; 0 where it is absent."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable, offset = table - back, 0
    if 4 + 2 * slot < struct.unpack_from("<H", data, vtable)[0]:
        (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * slot)
    return table + offset if offset else 0


def _number(data: bytearray, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])
