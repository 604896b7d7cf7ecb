"""Reads frames from lines of text: a header, a time column, chosen columns, damaged lines."""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.ingest.input_counts import REFUSE, InputCounts

TIME_NAMES = ("time", "timestamp", "t", "time_s", "datetime", "seconds")
_MISSING = ("", "na", "n/a", "null", "none", "-")
_MAX_LINE = 1 << 20


@dataclass(frozen=True)
class CsvColumns:
    """Which columns of a line make a frame; names of the header, or numbers from 1.

    Attributes:
        features: in the order of the model's features; None for all but the time column.
        time: the time column; None for one that the header names so.
    """

    features: Sequence[str] | None = None
    time: str | None = None

    @property
    def need_header(self) -> bool:
        """Whether a column is named."""
        names = [*(self.features or ()), *([] if self.time is None else [self.time])]
        return not all(name.isdecimal() for name in names)


@dataclass(frozen=True)
class _Layout:
    """How a line is divided: the delimiter, the fields per line, the places of the columns."""

    delimiter: str | None
    fields: int
    features: tuple[int, ...]
    time: int | None


def csv_frames(
    stream: IO[bytes], spec: TensorSpec, columns: CsvColumns, policy: str, counts: InputCounts
) -> Iterator[Array | None]:
    """Yields a frame per line; None for a line that is none.

    Fields are separated by commas, semicolons (numbers may then have decimal commas), tabs or
    blanks. A first line without numbers is the header. Empty lines are left out; an empty field is
    NaN. Where bad lines are not refused, two incomplete lines in a row that make a frame together
    are one line that was cut in two; so an incomplete line waits for the next.

    Args:
        stream: binary.
        spec: one frame.
        columns: the columns to use.
        policy: one of `POLICIES`; with "refuse" a bad line raises.
        counts: of bad and joined lines, and the time of the last frame.

    Raises:
        DataError: a column that does not exist, or a line that is no frame.
    """
    lines = _numbered(stream)
    for first in lines:
        text = first[1]
        layout, is_header = _layout(text, spec, columns)
        read = partial(_parse, spec=spec, layout=layout)
        if is_header or policy == REFUSE or read(text).frame is not None:
            break
        # A damaged line does not say how the others are divided.
        counts.bad_lines += 1
        yield None
    else:
        return
    rest = lines if is_header else chain([first], lines)
    parsed = _strict(rest, read, spec) if policy == REFUSE else _join_parts(rest, read, counts)
    for fields in parsed:
        if fields.time_s is not None:
            counts.time_s = fields.time_s
        counts.bad_lines += fields.frame is None
        yield fields.frame


class _Line(NamedTuple):
    """The content of a line.

    Attributes:
        text: the line.
        frame: None where it is none.
        time_s: from the time column.
        is_part: whether it may be one part of a line that was cut in two: it lacks fields, or its
            first or last field is empty.
    """

    text: bytes
    frame: Array | None
    time_s: float | None
    is_part: bool


def _numbered(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 1."""
    number = 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        if line.strip():
            yield number, line


def _strict(
    lines: Iterable[tuple[int, bytes]], read: Callable[[bytes], _Line], spec: TensorSpec
) -> Iterator[_Line]:
    for number, text in lines:
        line = read(text)
        if line.frame is None:
            raise _refusal(number, text, spec)
        yield line


def _join_parts(
    lines: Iterable[tuple[int, bytes]], read: Callable[[bytes], _Line], counts: InputCounts
) -> Iterator[_Line]:
    """All lines; two parts in a row that make a frame together are one."""
    part: _Line | None = None
    for _, text in lines:
        line = read(text)
        if part is not None:
            frame_line = read(part.text.rstrip(b"\r\n") + text) if line.is_part else None
            if frame_line is not None and frame_line.frame is not None and not frame_line.is_part:
                counts.joined_lines += 1
                part = None
                yield frame_line
                continue
            yield part
        part = line if line.is_part else None
        if part is None:
            yield line
    if part is not None:
        yield part


def _layout(line: bytes, spec: TensorSpec, columns: CsvColumns) -> tuple[_Layout, bool]:
    """The layout by the first line, and whether it is a header."""
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    delimiter = next((d for d in ";\t," if d in text), None)
    fields = _fields(text, delimiter)
    has_names = bool(fields) and not any(map(_is_number, fields))
    is_header = has_names and len(fields) >= _min_fields(spec)
    is_header &= any(c.isalpha() for c in text)
    if columns.need_header and not is_header:
        raise DataError(f"a header must name the columns, the first line is {text[:60]!r}: add one")
    names = fields if is_header else [str(n) for n in range(1, len(fields) + 1)]
    time = _time_place(names, columns, spec, is_header)
    if columns.features is None:
        places = [n for n in range(len(names)) if n != time]
        if is_header and len(places) != spec.size:
            raise DataError(
                f"the header has {len(places)} columns of features, the model takes {spec.size}: "
                "choose them with `columns` (--columns)"
            )
        # Without a header, the first line may be the damaged one.
        places = places if is_header else [n for n in range(spec.size + 1) if n != time]
        places = places[: spec.size]
    else:
        places = [_place(name, names) for name in columns.features]
        if len(places) != spec.size:
            raise DataError(
                f"`columns` must name {spec.size} columns, the features of the model, "
                f"got {len(places)}"
            )
    is_chosen = is_header or columns.features is not None
    width = len(names) if is_chosen else spec.size + (time is not None)
    return _Layout(delimiter, width, tuple(places), time), is_header


def _min_fields(spec: TensorSpec) -> int:
    """The fields that a header has at least; one word alone may be a damaged line."""
    return min(2, spec.size)


def _time_place(
    names: list[str], columns: CsvColumns, spec: TensorSpec, is_header: bool
) -> int | None:
    if columns.time is not None:
        return _place(columns.time, names)
    named = [n for n, name in enumerate(names) if name.lower() in TIME_NAMES]
    is_extra = columns.features is not None or len(names) == spec.size + 1
    return named[0] if is_header and len(named) == 1 and is_extra else None


def _place(name: str, names: list[str]) -> int:
    """The place of a column by its name, or by its number from 1."""
    if names.count(name) > 1:
        raise DataError(f"the header has the column {name!r} twice: name it by its number from 1")
    if name in names:
        return names.index(name)
    if name.isdecimal() and 1 <= int(name) <= len(names):
        return int(name) - 1
    raise DataError(f"there is no column {name!r}, the columns are {names}: name one of these")


def _parse(text: bytes, spec: TensorSpec, layout: _Layout) -> _Line:
    decoded = text.decode("utf-8", errors="replace")
    fields = _fields(decoded, layout.delimiter)
    if len(fields) != layout.fields:
        # Commas and blanks mixed.
        blank = decoded.replace(",", " ").split()
        fields = blank if len(blank) == layout.fields else fields
    if len(fields) != layout.fields:
        return _Line(text, None, None, len(fields) < layout.fields)
    time_s = None if layout.time is None else _seconds(fields[layout.time])
    is_part = "" in (fields[0], fields[-1])
    return _Line(text, _frame(fields, spec, layout), time_s, is_part)


def _frame(fields: list[str], spec: TensorSpec, layout: _Layout) -> Array | None:
    read: Callable[[str], Any] = int if spec.real.dtype == "int32" else _real
    chosen = [fields[place] for place in layout.features]
    if layout.delimiter == ";":
        chosen = [field.replace(",", ".") for field in chosen]
    try:
        # A number too large for float32 becomes inf, which the model refuses.
        with np.errstate(over="ignore"):
            return np.array(list(map(read, chosen)), spec.real.dtype).reshape(spec.shape)
    except (ValueError, OverflowError):
        return None


def _fields(text: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return text.split()
    if '"' in text:
        return _quoted_fields(text, delimiter)
    return [field.strip() for field in text.split(delimiter)]


def _quoted_fields(text: str, delimiter: str) -> list[str]:
    """The fields of a line with quotes; none where it is damaged, such as by a carriage return."""
    try:
        return [field.strip() for field in next(csv.reader([text], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _real(field: str) -> float:
    return math.nan if field.lower() in _MISSING else float(field)


def _is_number(field: str) -> bool:
    try:
        float(field.replace(",", "."))
    except ValueError:
        return False
    return True


def _seconds(field: str) -> float | None:
    """A time in seconds, or an ISO date in seconds since 1970; None for anything else."""
    try:
        value = float(field)
    except ValueError:
        try:
            value = datetime.fromisoformat(field).timestamp()
        except (ValueError, OverflowError):
            return None
    return value if math.isfinite(value) else None


def _refusal(number: int, line: bytes, spec: TensorSpec) -> DataError:
    return DataError(
        f"line {number} must hold {spec.size} numbers of {spec.real.dtype}, got "
        f"{line[:60].decode(errors='replace')!r}: write one frame per line"
    )
