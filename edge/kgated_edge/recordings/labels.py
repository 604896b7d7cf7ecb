"""Reads labelled events: a CSV table for many recordings, or Audacity's label track for one."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kgated_edge.errors import DataError
from kgated_edge.evaluation.event_matching import ReferenceEvent
from kgated_edge.ingest.csv_cells import fields_of, is_number, real

COLUMNS = ("file", "start", "end", "label")
HEADINGS = {
    "file": {"file", "filename", "path", "name", "recording"},
    "start": {"start", "onset", "start_s", "begin"},
    "end": {"end", "offset", "end_s", "stop"},
    "label": {"label", "class", "event_label", "event", "category"},
}
"""The names of each column in a header."""
_LINE_END = re.compile(r"\r\n|\r|\n")
_TOLERANCE_S = 0.5  # an event at the very end may be labelled to end a little later
Labels = Mapping[str, Sequence[ReferenceEvent]]
"""The events by the file of their recording, in the order of their starts; "" is the only one."""


def read_labels(path: str | Path) -> Labels:
    """Reads a file of labels.

    Args:
        path: a CSV file with the columns file, start, end, label, times in seconds, with or without
            a header, separated by commas or tabs; or `.txt`, as Audacity exports it:
            start, end and label, separated by tabs, of the only recording.

    Raises:
        DataError: the file cannot be read, or is empty; a line that breaks these rules, an event
            that ends before it starts, two events of one label that overlap.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: labels must be text in UTF-8: save them so") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: labels cannot be read ({reason}): check the path") from None
    if not text.strip():
        raise DataError(
            f"{path}: the file of labels is empty: where nothing happens, it has the line "
            f"{','.join(COLUMNS)} alone"
        )
    try:
        is_track = Path(path).suffix.lower() == ".txt"
        return _by_file(_track_rows(text) if is_track else _table_rows(text))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def check_labels(
    events: Sequence[ReferenceEvent], name: str, seconds: float, known: Iterable[str]
) -> None:
    """Checks the labels of one recording.

    Args:
        events: its labelled events.
        name: of the recording, for the message.
        seconds: its length.
        known: the labels of the model.

    Raises:
        DataError: a label that the model does not have, an event beyond the recording.
    """
    labels = list(known)
    for event in events:
        if event.label not in labels:
            raise DataError(
                f"{name}: the label {event.label!r} is not one of the model's {labels}: rename it"
            )
        if event.start_s >= seconds or event.end_s > seconds + _TOLERANCE_S:
            raise DataError(
                f"{name}: the event {event.label!r} at {event.start_s:g}..{event.end_s:g} s lies "
                f"beyond the recording of {seconds:.3f} s: correct the labels"
            )


def _table_rows(text: str) -> Iterable[tuple[int, str, ReferenceEvent]]:
    lines = _LINE_END.split(text)
    delimiter = _delimiter(lines)
    places: Sequence[int] | None = None
    for number, line in enumerate(lines, 1):
        fields = fields_of(line, delimiter)
        if (line.strip() and not fields) or "\0" in line:
            raise DataError(f"line {number} is not a line of a table: save it again as CSV")
        if line.startswith("#") or not any(fields):
            continue
        if places is None:
            is_header = any(field.lower() in HEADINGS["label"] for field in fields)
            is_header &= not any(map(is_number, fields))
            places = _places(fields) if is_header else range(len(COLUMNS))
            if is_header:
                continue
        if len(fields) <= max(places):
            raise DataError(
                f"line {number} must hold {', '.join(COLUMNS)}, got {len(fields)} fields: "
                "separate them by commas, with decimal points"
            )
        file, start, end, label = (fields[place] for place in places)
        yield number, file, _event(number, label, start, end)


def _delimiter(lines: Sequence[str]) -> str:
    """What separates the fields of the first line, commas or tabs."""
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return "\t" if first.count("\t") >= len(COLUMNS) - 1 else ","


def _places(header: list[str]) -> tuple[int, ...]:
    lower = [field.lower() for field in header]
    places = [[n for n, name in enumerate(lower) if name in HEADINGS[key]] for key in COLUMNS]
    if not all(len(columns) == 1 for columns in places):
        raise DataError(
            f"the header must name each of {', '.join(COLUMNS)} once, got {', '.join(header)}"
        )
    return tuple(columns[0] for columns in places)


def _track_rows(text: str) -> Iterable[tuple[int, str, ReferenceEvent]]:
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        # A line that starts with a backslash holds frequencies of the label before.
        if not line.strip() or line.startswith("\\"):
            continue
        if len(fields) != 3:
            raise DataError(
                f"line {number} must hold start, end and label, separated by tabs, "
                f"got {line[:60]!r}: export the label track again"
            )
        yield number, "", _event(number, fields[2].strip(), fields[0], fields[1])


def _event(number: int, label: str, start: str, end: str) -> ReferenceEvent:
    try:
        event = ReferenceEvent(label, real(start), real(end))
    except ValueError:
        raise DataError(
            f"line {number}: start and end must be seconds, got {start!r} and {end!r}: "
            "write them with decimal points"
        ) from None
    if not 0 <= event.start_s <= event.end_s < math.inf or not label:
        raise DataError(
            f"line {number}: an event must have a label and end after it starts, from 0, got "
            f"{label!r} at {start}..{end}: correct it"
        )
    return event


def _by_file(rows: Iterable[tuple[int, str, ReferenceEvent]]) -> Labels:
    by_file: dict[str, list[ReferenceEvent]] = {}
    for _, file, event in rows:
        by_file.setdefault(file, []).append(event)
    for file, events in by_file.items():
        events.sort(key=lambda event: event.start_s)
        _check_overlaps(file, events)
    return by_file


def _check_overlaps(file: str, events: Sequence[ReferenceEvent]) -> None:
    ends: dict[str, ReferenceEvent] = {}
    for event in events:
        before = ends.get(event.label)
        if before is not None and event.start_s < before.end_s:
            raise DataError(
                f"{file or 'the recording'}: two events {event.label!r} overlap, "
                f"{before.start_s:g}..{before.end_s:g} s and {event.start_s:g}..{event.end_s:g} s: "
                "join them"
            )
        ends[event.label] = event
