"""Reads frames from lines of text: a header, a time column, chosen columns, damaged lines."""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.ingest.csv_cells import fields_of, real, seconds, with_points
from kgated_edge.ingest.csv_encoding import UTF8_MARK, check_not_utf16, check_utf8
from kgated_edge.ingest.csv_layout import CsvColumns, Layout, layout_of
from kgated_edge.ingest.input_counts import REFUSE, InputCounts

_MAX_LINE = 1 << 20
_TIMES = 50  # of the first frames, from which the period is measured
_LOST = 1.75  # periods of a step that is a gap
_SAME_PERIOD = 0.1  # relative: clocks of sensors are rough


def csv_frames(
    stream: IO[bytes], spec: TensorSpec, columns: CsvColumns, policy: str, counts: InputCounts
) -> Iterator[Array | None]:
    """Yields a frame per line; None for a line that is none.

    Fields are separated by commas, semicolons (numbers may then have decimal commas), tabs or
    blanks. A first line without numbers is the header; where it names the features that the model
    was trained on, these are taken. Empty lines and lines that begin with # are left out; an empty
    field is NaN. Where bad lines are not refused, two incomplete lines in a row that make a frame
    together are one line that was cut in two; so an incomplete line waits for the next.

    Args:
        stream: binary.
        spec: one frame.
        columns: the columns to use.
        policy: one of `POLICIES`; with "refuse" a bad line raises.
        counts: of bad and joined lines, and the time of the last frame.

    Raises:
        DataError: a column that does not exist, a line that is no frame, a header or a whole text
            that is not UTF-8; or, where bad lines are refused, any line that is not, or times that
            step otherwise than the frames of training.
    """
    lines = _numbered(stream)
    for first in lines:
        number, text = first
        layout, is_header = layout_of(number, text, spec, columns)
        read = partial(_parse, spec=spec, layout=layout)
        if is_header or policy == REFUSE or read(text).frame is not None:
            break
        # A damaged line does not say how the others are divided.
        counts.bad_lines += 1
        yield None
    else:
        return
    rest = lines if is_header else chain([first], lines)
    if policy == REFUSE:
        parsed = _at_period(_strict(rest, read, spec), columns.period_s)
    else:
        parsed = _join_parts(rest, read, counts)
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
    """The lines that are not empty and no comments, with their numbers from 1."""
    number = 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        if number == 1:
            check_not_utf16(line)
            line = line.removeprefix(UTF8_MARK)
            if line.strip(b'"').startswith(b"sep="):
                continue  # Excel's line that sets the delimiter
        if line.strip() and not line.startswith(b"#"):
            yield number, line


def _strict(
    lines: Iterable[tuple[int, bytes]], read: Callable[[bytes], _Line], spec: TensorSpec
) -> Iterator[_Line]:
    for number, text in lines:
        check_utf8(number, text)
        line = read(text)
        if line.frame is None:
            raise _refusal(number, text, spec)
        yield line


def _at_period(lines: Iterable[_Line], period_s: float | None) -> Iterator[_Line]:
    """All lines; refuses a time column that steps otherwise than the frames of training."""
    times: list[float] = []
    for line in lines:
        if period_s is not None and line.time_s is not None and len(times) < _TIMES:
            times.append(line.time_s)
            if len(times) == _TIMES:
                _check_period(np.diff(times), period_s)
        yield line


def _check_period(steps: Array, period_s: float) -> None:
    median = float(np.median(steps))
    # Without the steps of lost frames, and of a time that is wrong: it goes up, and back.
    regular = steps[(steps >= 0) & (steps < _LOST * median)]
    step_s = float(regular.mean()) if median > 0 else 0.0
    if step_s and not math.isclose(step_s, period_s, rel_tol=_SAME_PERIOD):
        raise DataError(
            f"the time column steps by {step_s * 1e3:.4g} ms, the frames of training by "
            f"{period_s * 1e3:.4g} ms: resample to {1 / period_s:.6g} frames per second, or leave "
            "the time column out"
        )


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


def _parse(text: bytes, spec: TensorSpec, layout: Layout) -> _Line:
    decoded = text.decode("utf-8", errors="replace")
    fields = fields_of(decoded, layout.delimiter)
    if len(fields) != layout.fields:
        # Commas and blanks mixed.
        blank = decoded.replace(",", " ").split()
        fields = blank if len(blank) == layout.fields else fields
    if len(fields) != layout.fields:
        return _Line(text, None, None, len(fields) < layout.fields)
    time_s = None if layout.time is None else seconds(fields[layout.time], layout.time_factor)
    is_part = "" in (fields[0], fields[-1])
    return _Line(text, _frame(fields, spec, layout), time_s, is_part)


def _frame(fields: list[str], spec: TensorSpec, layout: Layout) -> Array | None:
    read: Callable[[str], Any] = _integer if spec.real.dtype == "int32" else real
    chosen = [fields[place] for place in layout.features]
    try:
        if layout.delimiter != ",":
            chosen = with_points(chosen)
        # A number too large for float32 becomes inf, which the model refuses.
        with np.errstate(over="ignore"):
            return np.array(list(map(read, chosen)), spec.real.dtype).reshape(spec.shape)
    except (ValueError, OverflowError):
        return None


def _integer(field: str) -> int:
    return int(field) if "_" not in field else int("")


def _refusal(number: int, line: bytes, spec: TensorSpec) -> DataError:
    return DataError(
        f"line {number} must hold {spec.size} numbers of {spec.real.dtype}, got "
        f"{line[:60].decode(errors='replace')!r}: write one frame per line"
    )
