"""The cells of a line of text: its fields, their numbers and times."""

import csv
import math
import re
from collections.abc import Sequence
from datetime import datetime

TIME_UNITS = {
    **{"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    **dict.fromkeys(("sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("msec", "millis", "milliseconds"), 1e-3),
    **dict.fromkeys(("µs", "μs", "usec", "micros", "microseconds"), 1e-6),
    **dict.fromkeys(("nanos", "nanoseconds"), 1e-9),
    **dict.fromkeys(("min", "mins", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hours"), 3600.0),
    **dict.fromkeys(("d", "days"), 86400.0),
}
"""Seconds per unit, by the words that stand for it in the name of a column."""
TIME_UNIT = re.compile(rf"^(.*?)[\s_,(\[]+({'|'.join(TIME_UNITS)})[)\]]?$", re.IGNORECASE)
_EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))  # of 1973 and later, in smaller units
_MISSING = ("", "na", "n/a", "null", "none", "-")


def factor_of_size(number: float) -> float:
    """Seconds per unit of a time since 1970, by its size; 1 for any small number."""
    return next((factor for size, factor in _EPOCHS if number > size), 1.0)


def factor_of_name(name: str) -> float | None:
    """Seconds per unit of a time column, by its name; None where it has none."""
    match = TIME_UNIT.match(name.strip())
    return TIME_UNITS.get((match.group(2) if match else name.strip()).lower())


def without_unit(name: str) -> str:
    """The name of a time column in lower case, without its unit."""
    match = TIME_UNIT.match(name.strip())
    plain = (match.group(1) if match else name).strip().lower()
    if match and plain == "t" and match.group(2).lower() in ("min", "h", "d"):
        return name.lower()  # "t_min" is a temperature
    return plain


def fields_of(text: str, delimiter: str | None) -> list[str]:
    """The fields of a line; none where its quotes are damaged, such as by a carriage return."""
    if delimiter is None:
        return text.split()
    if '"' in text:
        try:
            return [field.strip() for field in next(csv.reader([text], delimiter=delimiter), [])]
        except csv.Error:
            return []
    return [field.strip() for field in text.split(delimiter)]


def with_points(fields: Sequence[str]) -> list[str]:
    """Numbers with decimal points, of numbers that may have decimal commas.

    Raises:
        ValueError: commas in one number and a point in another: one is a separator of thousands.
    """
    text = "".join(fields)
    if "," in text and "." in text:
        raise ValueError("decimal commas and points")
    return [field.replace(",", ".") for field in fields]


def real(field: str) -> float:
    """The number in a field, NaN where it is missing; ValueError for anything else."""
    if "_" in field:
        raise ValueError("an underscore is for Python")
    return math.nan if field.lower() in _MISSING else float(field)


def is_number(field: str) -> bool:
    """Whether a field is a number, with a decimal point or comma."""
    try:
        float(field.replace(",", "."))
    except ValueError:
        return False
    return True


def seconds(field: str, factor: float | None) -> float | None:
    """A time in seconds, or an ISO date in seconds since 1970; None for anything else.

    Args:
        field: the cell.
        factor: seconds per unit; None: by the size of the number.
    """
    try:
        value = float(field.replace(",", "."))
    except ValueError:
        try:
            value, factor = datetime.fromisoformat(field).timestamp(), 1.0
        except (ValueError, OverflowError):
            return None
    value *= factor_of_size(value) if factor is None else factor
    return value if math.isfinite(value) else None
