"""Forged graphs: valid FlatBuffers with changed numbers."""

import math
import random
import struct
from collections.abc import Iterable, Iterator
from functools import cache

from kgated_edge.format.tflite_file import field, tables, unsigned, vector

_OFTEN, _MAX_ITEMS = (1, 1, 1, 1, 2, 4), 32
_FLOATS = (0.0, -1.0, 1e-38, 1e-20, 1e-9, 1e-3, 1.0, 1e4, 1e9, 1e20, 3e38, math.nan, math.inf)
_WHOLE = (-(2**31), -2, -1, 0, 1, 2, 3, 4, 5, 7, 16, 127, 255, 1000, 2**16, 2**24, 2**31 - 1)


def with_other_fields(content: bytes, rng: random.Random) -> bytes:
    """Change one to four numbers of tensors, operators and subgraphs."""
    copy, kinds = bytearray(content), _places(content)
    times = rng.choice(_OFTEN)
    while times > 0 or copy == content:
        # Choose the kind first, so that rare kinds are as frequent as common ones.
        places, width = kinds[rng.randrange(len(kinds))]
        at, target = rng.choice(places), rng.choice(places)
        values = [
            content[target : target + width],
            rng.randbytes(width),
            rng.choice(_WHOLE).to_bytes(16, "little", signed=True)[:width],
            struct.pack("<d" if width == 8 else "<f", rng.choice(_FLOATS))[:width],
            bytes([copy[at] ^ 1 << rng.randrange(8)]),
            bytes([rng.randrange(24)]),
        ]
        value = rng.choice(values)
        copy[at : at + len(value)] = value
        times -= 1
    return bytes(copy)


@cache
def _places(content: bytes) -> list[tuple[list[int], int]]:
    """The positions of the fields of each kind, and their size in bytes."""
    by_kind: dict[str, list[int]] = {}
    widths = {"tensor 1": 1, "tensor 5": 1, "operator 3": 1, "code 0": 1, "zeros": 8, "options": 1}
    for kind, at in _fields(content):
        by_kind.setdefault(kind, []).append(at)
    return [(places, widths.get(kind, 4)) for kind, places in sorted(by_kind.items())]


def _fields(content: bytes) -> Iterator[tuple[str, int]]:
    model = unsigned(content, 0)
    for table in tables(content, model, 1):
        yield from _scalars(content, table, "code", (0, 2, 3))
    for subgraph in tables(content, model, 2):
        yield from _items(content, subgraph, "inputs", slot=1)
        yield from _items(content, subgraph, "outputs", slot=2)
        for table in tables(content, subgraph, 0):
            yield from _tensor(content, table)
        for table in tables(content, subgraph, 3):
            yield from _operator(content, table)
    for table in tables(content, model, 7):
        yield from _scalars(content, table, "signature", (4,))
        for table_start in [*tables(content, table, 0), *tables(content, table, 1)]:
            yield from _scalars(content, table_start, "named", (1,))


def _tensor(content: bytes, table: int) -> Iterator[tuple[str, int]]:
    yield from _scalars(content, table, "tensor", (1, 2, 5))
    yield from _items(content, table, "shape", slot=0)
    if at := field(content, table, 4):
        quantization = at + unsigned(content, at)
        yield from _scalars(content, quantization, "axis", (6,))
        yield from _items(content, quantization, "scales", slot=2)
        yield from _items(content, quantization, "zeros", slot=3, width=8)


def _operator(content: bytes, table: int) -> Iterator[tuple[str, int]]:
    yield from _scalars(content, table, "operator", (0, 3))
    yield from _items(content, table, "taken", slot=1)
    yield from _items(content, table, "given", slot=2)
    if at := field(content, table, 4):
        yield from _scalars(content, at + unsigned(content, at), "options", range(16))


def _scalars(
    content: bytes, table: int, kind: str, slots: Iterable[int]
) -> Iterator[tuple[str, int]]:
    for slot in slots:
        if at := field(content, table, slot):
            yield f"{kind} {slot}" if kind != "options" else kind, at


def _items(
    content: bytes, table: int, kind: str, slot: int, width: int = 4
) -> Iterator[tuple[str, int]]:
    """A vector's count and its first few items."""
    if at := field(content, table, slot):
        start, end = vector(content, at, width)
        yield "count", start - 4
        for place in range(start, end, width)[:_MAX_ITEMS]:
            yield kind, place
