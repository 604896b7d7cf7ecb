"""Reads recordings of sensors, one CSV file each."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kgated.data.reading.csv_table import Table, check_decimal_signs, is_missing, read_table
from kgated.data.reading.recording import Recording, files_in, resampled
from kgated.data.reading.time_column import (
    UNITS,
    check_regular,
    counting_columns,
    find_time_column,
    on_grid,
    period_of,
    read_times,
)

SUFFIXES = (".csv", ".tsv", ".txt")
_LABEL_NAMES = ("label", "labels", "class", "class_name", "target")
SAME_PERIOD = 0.01  # relative


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are read; None: found in each file.

    Attributes:
        columns: names or numbers (from 1) of the features, such as ("ax", "3", "5-7"); None: all
            but those of time and label.
        time: name or number of the time column; None: the one named as a time; "none": no column.
        time_unit: "s", "ms", "us" or "ns".
        label_column: name or number of the column with a label per frame.
        delimiter: one character, or "tab", "space".
        header: whether the first line holds names.
        sample_period_s: seconds from row to row, where no column says it.
        rate: frames per second to resample to; None: no resampling.
    """

    columns: tuple[str, ...] | None = None
    time: str | None = None
    time_unit: str | None = None
    label_column: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    sample_period_s: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("sample_period_s", "rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"`{name}` must be above 0. Received: {value!r}")
        if self.time_unit is not None and self.time_unit not in UNITS:
            raise ValueError(f"`time_unit` must be one of {list(UNITS)}. Got {self.time_unit!r}")


def read_csv_folder(
    folder: Path, options: CsvOptions, skip: Path | None = None
) -> Iterator[Recording]:
    """Read the CSV files below a folder, in the order of their paths, but for the file `skip`.

    Raises:
        ValueError: a file that can't be read, has other features or another period than the first;
            one sentence with file, line and column.
    """
    first: Recording | None = None
    for path in files_in(folder, SUFFIXES):
        if skip is not None and path.resolve() == skip.resolve():
            continue  # the table of labels, beside the recordings
        names = None if first is None else first.names
        recording = read_csv(path, options, names)
        first = first or recording
        _check_period(first, recording)
        yield recording


def read_csv(path: Path, options: CsvOptions, names: tuple[str, ...] | None = None) -> Recording:
    """Read one file.

    Args:
        path: the file.
        options: how.
        names: the features of the file before, which this must have too.
    """
    table = read_table(path, options.delimiter, options.header)
    time = _time_place(table, options)
    label = None if options.label_column is None else table.index(options.label_column)
    features = _features(table, options, {time, label}, names)
    check_decimal_signs(table, features if time is None else [*features, time])
    x = np.stack([table.numbers(column) for column in features], axis=1)
    labels = None if label is None else np.array(table.texts(label))
    _check_labels(table, labels, label)
    x, labels, period_s = _timed(table, x, labels, time, options)
    columns = tuple(table.names[column] for column in features)
    with np.errstate(over="ignore"):
        frames = x.astype(np.float32)
    if not np.isfinite(frames).all():
        raise ValueError(f"{path}: a number is too large for float32: scale the column")
    duration = None if period_s is None else len(frames) * period_s
    return Recording(path, frames, labels, period_s, columns, 0.0, duration)


def _time_place(table: Table, options: CsvOptions) -> int | None:
    if options.time == "none":
        return None
    if options.time is not None:
        return table.index(options.time)
    return find_time_column(table) if table.has_header else None


def _features(
    table: Table,
    options: CsvOptions,
    others: set[int | None],
    names: tuple[str, ...] | None,
) -> list[int]:
    if options.columns is not None:
        return [column for item in options.columns for column in _column_indices(table, item)]
    indices = [n for n in range(len(table.names)) if n not in others and not _is_index(table, n)]
    own = [table.names[n] for n in indices]
    if names is not None and set(own) != set(names):
        raise ValueError(
            f"{table.path}: the columns are {', '.join(own)}, the files before have "
            f"{', '.join(names)}: choose those that all files have by --columns"
        )
    if options.time != "none":
        _check_features(table, indices)
    if not indices:
        raise ValueError(f"{table.path}: there is no column of features, only time and label")
    return indices if names is None else [table.names.index(name) for name in names]


def _check_features(table: Table, indices: list[int]) -> None:
    """Refuse columns that nobody chose, and that are another time or the labels."""
    times = counting_columns(table, indices) if table.has_header else []
    for n in indices:
        name = table.names[n]
        if n in times or name.lower() in _LABEL_NAMES:
            what = "a time" if n in times else "labels"
            raise ValueError(
                f"{table.path}: the column {name!r} is named as {what} and would be a feature: "
                "choose the features by --columns"
            )


def _column_indices(table: Table, item: str) -> list[int]:
    match = re.fullmatch(r"(\d+)-(\d+)", item)
    if item in table.names or match is None:
        return [table.index(item)]
    first, last = (table.index(number) for number in match.groups())
    return list(range(first, last + 1))


def _is_index(table: Table, column: int) -> bool:
    """Whether a column without a name counts the rows, as pandas writes it."""
    if not table.has_header or table.names[column] != f"column {column + 1}":
        return False
    texts = table.texts(column)
    return texts in ([str(n) for n in range(len(texts))], [str(n + 1) for n in range(len(texts))])


def _check_labels(table: Table, labels: np.ndarray | None, column: int | None) -> None:
    if labels is None or column is None:
        return
    for line, label in zip(table.lines, labels.tolist(), strict=True):
        if is_missing(label):
            raise ValueError(
                f"{table.path}: line {line}, column {table.names[column]!r} holds no label, got "
                f"{label!r}: write one, or drop the line"
            )


def _timed(
    table: Table, x: np.ndarray, labels: np.ndarray | None, time: int | None, options: CsvOptions
) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """The frames and labels at the rate wanted, and the period."""
    period, rate = options.sample_period_s, options.rate
    if time is not None:
        times = read_times(table, time, options.time_unit)
        measured = period_of(table, times)
        if period is not None and not math.isclose(period, measured, rel_tol=SAME_PERIOD):
            raise ValueError(
                f"{table.path}: --sample-period-ms is {period * 1e3:g}, the time column steps by "
                f"{measured * 1e3:g} ms: leave the option out"
            )
        period = _round(measured) if period is None else period
        if rate is None:
            check_regular(table, times, measured)
        else:
            x, rows = on_grid(table, x, times, measured)
            labels = None if labels is None else labels[rows]
    if rate is None:
        return x, labels, period
    if period is None:
        raise ValueError(
            f"{table.path}: --rate needs the period of the rows: name the time column by --time, "
            "or give --sample-period-ms"
        )
    return _at_rate(x, labels, 1 / period, rate)


def _at_rate(
    x: np.ndarray, labels: np.ndarray | None, old: float, rate: float
) -> tuple[np.ndarray, np.ndarray | None, float]:
    if math.isclose(old, rate, rel_tol=1e-6):
        return x, None if labels is None else labels[: len(x)], 1 / rate
    y = _resampled(x, old, rate)
    if labels is not None:
        rows = np.rint(np.arange(len(y)) * old / rate).astype(np.int64)
        labels = labels[np.minimum(rows, len(labels) - 1)]
    return y, labels, 1 / rate


def _resampled(x: np.ndarray, old: float, rate: float) -> np.ndarray:
    """Frames (T, F) at another rate.

    The filter takes zeros before the first and after the last frame. The line from one to the other
    is left out, so that values far from zero have no transients there.
    """
    slope = (x[-1] - x[0]) / max(1, len(x) - 1)
    y = resampled(x - x[0] - np.arange(len(x))[:, None] * slope, old, rate)
    return np.asarray(y + x[0] + (np.arange(len(y)) * old / rate)[:, None] * slope)


def _round(period_s: float) -> float:
    """The period to six digits, since a median of decimal times is off in the last ones."""
    return float(f"{period_s:.6g}")


def _check_period(first: Recording, recording: Recording) -> None:
    a, b = first.period_s, recording.period_s
    if (a is None) != (b is None) or (a and b and not math.isclose(a, b, rel_tol=SAME_PERIOD)):
        shown = [f"{1 / p:g} Hz" if p else "no period" for p in (b, a)]
        raise ValueError(
            f"{recording.path}: mixed rates: this file has {shown[0]}, {first.path} has "
            f"{shown[1]}: give --rate to resample all to one"
        )
