"""The sample period from a time column, in any unit or as ISO dates."""

from collections.abc import Iterable
from datetime import datetime

import numpy as np
from kgated_edge.ingest.csv_cells import factor_of_name, factor_of_size, without_unit

from kgated.data.reading.csv_table import Table, to_number

TIME_NAMES = {
    "time",
    "timestamp",
    "timestamps",
    "t",
    "datetime",
    "date",
    "seconds",
    "elapsed",
    "ms",
}
UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_LIKE_TIMES = ("time", "date", "epoch", "stamp", "elapsed", "clock", "utc", "second", "millis")
IRREGULAR = 0.5  # of the period
_LOST = 1.75  # periods of a step that is a gap
_MAX_GAP = 100  # periods that are interpolated
_MAX_DRIFT = 0.01  # of the duration


def find_time_column(table: Table) -> int | None:
    """The index of the column that is named as a time; None where there is none.

    A column such as "Elapsed Time (s)" is one if its values increase from row to row.

    Raises:
        ValueError: several columns are named so.
    """
    names = table.names
    columns = [n for n, name in enumerate(names) if without_unit(name) in TIME_NAMES]
    columns = columns or counting_columns(table, range(len(names)))
    if len(columns) > 1:
        shown = " and ".join(repr(names[n]) for n in columns)
        raise ValueError(
            f"{table.path}: the columns {shown} are named as times: name the time by --time, and "
            "the features by --columns"
        )
    return columns[0] if columns else None


def counting_columns(table: Table, columns: Iterable[int]) -> list[int]:
    """Those columns that have a time in their name, and values that increase from row to row."""
    return [n for n in columns if _is_like_time(table.names[n]) and _counts(table, n)]


def _is_like_time(name: str) -> bool:
    return without_unit(name) in TIME_NAMES or any(word in name.lower() for word in _LIKE_TIMES)


def _counts(table: Table, column: int) -> bool:
    try:
        read_times(table, column, None)
    except ValueError:
        return False
    return len(table.rows) > 1


def read_times(table: Table, column: int, unit: str | None) -> np.ndarray:
    """The times of the rows in seconds, which increase, (rows,).

    Args:
        table: the file.
        column: the index of the time column.
        unit: "s", "ms", "us", "ns"; None: by the column's name or the size of the numbers.

    Raises:
        ValueError: a cell that is no time, or a time that is not after the one before.
    """
    cells = table.texts(column)
    if np.isfinite(to_number(cells[0])):
        numbers = table.numbers(column)
        times = (numbers - numbers[0]) * _factor(table, column, numbers, unit)
    else:
        times = _dates(table, column, cells)
    steps = np.diff(times)
    if len(steps) and steps.min() <= 0:
        line = table.lines[int(np.argmax(steps <= 0)) + 1]
        raise ValueError(
            f"{table.path}: line {line}, column {table.names[column]!r}: the time is not after the "
            "one before: sort the lines, or drop the duplicate"
        )
    return times


def _factor(table: Table, column: int, numbers: np.ndarray, unit: str | None) -> float:
    """Seconds per unit of a time column."""
    name = table.names[column]
    by_size = factor_of_size(numbers[0])
    by_name = factor_of_name(name) if unit is None else UNITS[unit]
    if by_name is not None and by_name >= 1 > by_size:
        raise ValueError(
            f"{table.path}: column {name!r} begins at {numbers[0]:.15g}, too large for a time in "
            f"{unit or 'its unit'}: give --time-unit {_symbol(by_size)}"
        )
    return by_size if by_name is None else by_name


def _symbol(factor: float) -> str:
    return next(name for name, value in UNITS.items() if value == factor)


def _dates(table: Table, column: int, cells: list[str]) -> np.ndarray:
    times = np.empty(len(cells))
    first = None
    for n, cell in enumerate(cells):
        try:
            date = datetime.fromisoformat(cell)
            first = first or date
            times[n] = (date - first).total_seconds()
        except TypeError:
            raise ValueError(
                f"{table.path}: line {table.lines[n]}, column {table.names[column]!r}: some dates "
                "have a time zone, others have none: write all alike"
            ) from None
        except ValueError:
            raise ValueError(
                f"{table.path}: line {table.lines[n]}, column {table.names[column]!r} holds "
                f"{cell[:40]!r}, which is neither a number nor an ISO date: mend the line"
            ) from None
    return times


def period_of(table: Table, times: np.ndarray) -> float:
    """The mean step of the times in seconds; gaps are left out.

    The median alone would be off where times are rounded: 17 ms at 60 Hz.

    Raises:
        ValueError: one row alone, which has no period.
    """
    if len(times) < 2:
        raise ValueError(
            f"{table.path}: one line of data has no sample period: leave the file out, or give "
            "--sample-period-ms"
        )
    steps = np.diff(times)
    return float(steps[steps < _LOST * np.median(steps)].mean())


def check_regular(table: Table, times: np.ndarray, period_s: float) -> None:
    """Refuse times with gaps, and a period that changes.

    Raises:
        ValueError: a step that differs from the period by half of it or more, or times that leave
            the even grid by more than two periods and a hundredth of the recording.
    """
    off = np.abs(np.diff(times) - period_s) >= IRREGULAR * period_s
    if off.any():
        at = int(np.argmax(off))
        raise ValueError(
            f"{table.path}: line {table.lines[at + 1]}: the time steps by "
            f"{(times[at + 1] - times[at]) * 1e3:g} ms, the others by {period_s * 1e3:g} ms: give "
            f"--rate {1 / period_s:g} to resample, or cut the recording there"
        )
    drift = np.abs(times - times[0] - period_s * np.arange(len(times)))
    if drift.max() > max(2 * period_s, _MAX_DRIFT * (times[-1] - times[0])):
        raise ValueError(
            f"{table.path}: line {table.lines[int(np.argmax(drift))]}: the time is "
            f"{drift.max():.3g} s off even steps of {period_s * 1e3:g} ms: the period changes: "
            f"give --rate {1 / period_s:g} to resample"
        )


def on_grid(
    table: Table, x: np.ndarray, times: np.ndarray, period_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows at even times, by linear interpolation.

    Returns:
        the rows (T, F), and the index of the nearest row of the file for each of them, (T,).

    Raises:
        ValueError: a gap of more than 100 periods.
    """
    steps = np.diff(times)
    if steps.max() > _MAX_GAP * period_s:
        at = int(np.argmax(steps))
        raise ValueError(
            f"{table.path}: line {table.lines[at + 1]}: the time steps by {steps[at]:g} s, the "
            f"others by {period_s * 1e3:g} ms: a gap of more than {_MAX_GAP} frames is not filled: "
            "cut the recording there"
        )
    grid = np.arange(times[0], times[-1] + period_s * 1e-6, period_s)
    nearest = np.rint(np.interp(grid, times, np.arange(len(times)))).astype(np.int64)
    return np.stack([np.interp(grid, times, column) for column in x.T], axis=1), nearest
