"""Rules for the label of a recording: by folder, file name, a table, or events in time."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from kgated_edge.recordings.labels import HEADINGS

from kgated.data.reading.csv_table import (
    Table,
    is_missing,
    read_table,
    to_number,
)
from kgated.data.reading.recording import Recording

BACKGROUND = "background"
Rule = Callable[[Recording], str | np.ndarray]
"""Returns the label of a recording, or a label per frame, (T,) of str."""


def by_folder(root: Path) -> Rule:
    """The first folder below `root` is the label."""

    def label(recording: Recording) -> str:
        parts = recording.path.relative_to(root).parts
        if len(parts) < 2:
            raise ValueError(
                f"{recording.path}: there is no folder to take the label from: sort the files into "
                "a folder per class, or give --label-pattern, --label-column, --label-table or "
                "--no-labels"
            )
        return parts[0]

    return label


def by_pattern(root: Path, pattern: str) -> Rule:
    """The group `label` of a regular expression, else its first group, is the label.

    Raises:
        ValueError: it is no regular expression, or has no group.
    """
    expression = compiled("label_pattern", pattern)
    if not expression.groups:
        raise ValueError(
            "`label_pattern` must have a group, such as '(?P<label>[a-z]+)_'. Received: "
            f"{pattern!r}"
        )
    return lambda recording: matched(expression, "label", recording.path, root)


def compiled(name: str, pattern: str) -> re.Pattern[str]:
    """A regular expression; `ValueError` that names the argument where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"`{name}` is no regular expression ({error}): {pattern!r}") from None


def matched(expression: re.Pattern[str], name: str, path: Path, root: Path) -> str:
    """The text that a pattern finds in the name of a file, or in its path below `root`.

    Raises:
        ValueError: it finds nothing.
    """
    match = expression.search(path.name) or expression.search(path.relative_to(root).as_posix())
    groups = {} if match is None else match.groupdict()
    text = groups.get(name) if name in groups else match and match.group(min(1, match.re.groups))
    if not text:
        raise ValueError(
            f"{path}: the pattern {expression.pattern!r} finds no {name} in the name: mend the "
            "pattern, or rename the file"
        )
    return text


def by_column(recording: Recording) -> np.ndarray:
    """The label column of the file."""
    assert recording.frame_labels is not None
    return recording.frame_labels


def by_table(root: Path, table_path: Path, files: list[Path]) -> Rule:
    """A CSV table of file and label, or of file, start, end and label in seconds.

    With times the labels are per frame: a frame whose centre is in an event has its label, any
    other frame "background".

    Raises:
        ValueError: columns of another kind, a file that does not exist, an empty label, two labels
            for a file.
        OSError: the table can't be read.
    """
    table = read_table(table_path)
    columns = _columns(table)
    rows = [[row[column].strip() for column in columns] for row in table.rows]
    names = _by_name(root, files)
    events: dict[Path, list[tuple[int, list[str]]]] = {}
    for line, (name, *rest) in zip(table.lines, rows, strict=True):
        if name not in names:
            raise ValueError(f"{table_path}: line {line}: {_unknown(name, root, files)}")
        if is_missing(rest[-1]):
            raise ValueError(
                f"{table_path}: line {line}: the label is empty or NaN: give one, or drop the line"
            )
        events.setdefault(names[name], []).append((line, rest))
    if len(columns) == 4:
        return lambda recording: _event_labels(table_path, recording, events)
    return lambda recording: _only_label(table_path, recording, events)


def _columns(table: Table) -> list[int]:
    """The indices of the columns file, start, end and label, or of file and label."""
    if table.has_header:
        lower = [name.lower() for name in table.names]
        indices = {
            key: next((n for n, name in enumerate(lower) if name in known), None)
            for key, known in HEADINGS.items()
        }
        has_times = {indices["start"] is None, indices["end"] is None}
        if indices["file"] is not None and indices["label"] is not None and len(has_times) == 1:
            return [index for index in indices.values() if index is not None]
    elif len(table.names) in (2, 4):
        return list(range(len(table.names)))
    raise ValueError(
        f"{table.path}: the table must have the columns file,label or file,start,end,label, got "
        f"{', '.join(table.names)}: name them so in its first line"
    )


def _by_name(root: Path, files: list[Path]) -> dict[str, Path]:
    """The files by path below `root`, and by name or stem where these stand for one file."""
    names: dict[str, list[Path]] = {}
    for path in files:
        relative = path.relative_to(root)
        for name in {
            relative.as_posix(),
            path.name,
            relative.with_suffix("").as_posix(),
            path.stem,
        }:
            names.setdefault(name, []).append(path)
    return {name: paths[0] for name, paths in names.items() if len(paths) == 1}


def _unknown(name: str, root: Path, files: list[Path]) -> str:
    """Why no file has a name of a table."""
    paths = [path.relative_to(root).as_posix() for path in files]
    several = [path for path in paths if name in (Path(path).name, Path(path).stem)]
    if several:
        return f"{name!r} stands for {' and '.join(several)} in {root}: write the path below it"
    return f"there is no file {name!r} in {root}: write the path below it, such as {paths[0]!r}"


def _only_label(
    table: Path, recording: Recording, labels: dict[Path, list[tuple[int, list[str]]]]
) -> str:
    rows = labels.get(recording.path, [])
    if len({label for _, (label,) in rows}) != 1:
        what = "has no label" if not rows else f"has the labels {[row[1][0] for row in rows]}"
        raise ValueError(f"{table}: {recording.path} {what}: give it one")
    return rows[0][1][0]


def _event_labels(
    table: Path, recording: Recording, events: dict[Path, list[tuple[int, list[str]]]]
) -> np.ndarray:
    """A label per frame from the events of a recording."""
    period, duration = recording.period_s, recording.duration_s
    if period is None or duration is None:
        raise ValueError(
            f"{recording.path}: events in seconds need the sample period: give "
            "--sample-period-ms or a time column"
        )
    centres = recording.first_s + period * np.arange(len(recording.x))
    spans = sorted(_span(table, line, row) for line, row in events.get(recording.path, []))
    names = [BACKGROUND, *(label for *_, label in spans)]
    labels = np.full(len(recording.x), BACKGROUND, f"<U{max(map(len, names))}")
    last = 0.0
    for start, end, line, label in spans:
        if end > duration + period:
            raise ValueError(
                f"{table}: line {line}: the event ends at {end:g} s, beyond {recording.path}, "
                f"which ends at {duration:g} s: mend the time"
            )
        if start < last:
            raise ValueError(
                f"{table}: line {line}: the event at {start:g} s of {recording.path} overlaps the "
                f"one before, which ends at {last:g} s: a frame has one label, mend the times"
            )
        inside = (centres >= start) & (centres < end)
        if not inside.any():
            warnings.warn(
                f"{table}: line {line}: no frame of {recording.path} has its centre in the event "
                f"{label!r} at {start:g} s, of {end - start:.3g} s (a frame is {period:g} s): it "
                "labels nothing",
                stacklevel=2,
            )
        labels[inside] = label
        last = end
    return labels


def _span(table: Path, line: int, row: list[str]) -> tuple[float, float, int, str]:
    # With decimal points, as the device reads the same table.
    start, end = (np.nan if "," in text else to_number(text) for text in row[:2])
    if not 0 <= start < end < np.inf:
        raise ValueError(
            f"{table}: line {line}: start and end must be seconds from 0, the start before the "
            f"end, got {row[0]!r} and {row[1]!r}: mend the line"
        )
    return start, end, line, row[2]
