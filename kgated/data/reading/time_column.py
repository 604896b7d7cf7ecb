"""The sample period from a time column, in any unit or as ISO dates."""

import re
from datetime import datetime

import numpy as np

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
_SPELLINGS = {"sec": "s", "secs": "s", "seconds": "s", "msec": "ms", "millis": "ms", "µs": "us"}
_UNIT = re.compile(
    r"^(.*?)[\s_(\[]+(s|ms|us|µs|ns|secs?|seconds|msec|millis)[)\]]?$", re.IGNORECASE
)
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))  # of 1973 and later, in smaller units
IRREGULAR = 0.5  # of the period


def find_time_column(names: list[str]) -> int | None:
    """The index of the only column that is named as a time; None where there is none."""
    columns = [n for n, name in enumerate(names) if _plain(name) in TIME_NAMES]
    return columns[0] if len(columns) == 1 else None


def _plain(name: str) -> str:
    match = _UNIT.match(name.strip())
    return (match.group(1) if match else name).strip().lower()


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
        times = (numbers - numbers[0]) * _factor(table.names[column], numbers, unit)
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


def _factor(name: str, numbers: np.ndarray, unit: str | None) -> float:
    if unit is not None:
        return UNITS[unit]
    match = _UNIT.match(name.strip())
    if match or name.lower() in ("ms", "seconds"):
        text = (match.group(2) if match else name).lower()
        return UNITS[_SPELLINGS.get(text, text)]
    return next((factor for size, factor in _EPOCHS if numbers[0] > size), 1.0)


def _dates(table: Table, column: int, cells: list[str]) -> np.ndarray:
    times = np.empty(len(cells))
    first = None
    for n, cell in enumerate(cells):
        try:
            date = datetime.fromisoformat(cell)
            first = first or date
            times[n] = (date - first).total_seconds()
        except (ValueError, TypeError):
            raise ValueError(
                f"{table.path}: line {table.lines[n]}, column {table.names[column]!r} holds "
                f"{cell[:40]!r}, which is neither a number nor an ISO date: mend the line"
            ) from None
    return times


def period_of(table: Table, times: np.ndarray) -> float:
    """The median step of the times, in seconds.

    Raises:
        ValueError: one row alone, which has no period.
    """
    if len(times) < 2:
        raise ValueError(
            f"{table.path}: one line of data has no sample period: leave the file out, or give "
            "--sample-period-ms"
        )
    return float(np.median(np.diff(times)))


def check_regular(table: Table, times: np.ndarray, period_s: float) -> None:
    """Refuse times with gaps.

    Raises:
        ValueError: a step that differs from the period by half of it or more.
    """
    off = np.abs(np.diff(times) - period_s) >= IRREGULAR * period_s
    if off.any():
        at = int(np.argmax(off))
        raise ValueError(
            f"{table.path}: line {table.lines[at + 1]}: the time steps by "
            f"{(times[at + 1] - times[at]) * 1e3:g} ms, the others by {period_s * 1e3:g} ms: give "
            f"--rate {1 / period_s:g} to resample, or cut the recording there"
        )


def on_grid(x: np.ndarray, times: np.ndarray, period_s: float) -> np.ndarray:
    """Rows (T, F) at even times, by linear interpolation."""
    grid = np.arange(times[0], times[-1] + period_s * 1e-6, period_s)
    return np.stack([np.interp(grid, times, column) for column in x.T], axis=1)
