"""Divides lines of text into columns, by the first line and the model's features."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import TensorSpec
from kgated_edge.ingest.csv_cells import factor_of_name, fields_of, is_number, without_unit
from kgated_edge.ingest.csv_encoding import are_words, check_utf8, text_or_damage

TIME_NAMES = ("time", "timestamp", "t", "time_s", "datetime", "seconds")


@dataclass(frozen=True)
class CsvColumns:
    """Which columns of a line make a frame; names of the header, or numbers from 1.

    Attributes:
        features: in the order of the model's features; None: those that the model names, or all
            but the time column where the header or the model has no names.
        time: the time column; None for one that the header names so.
        trained: the names of the model's features; None where it has none.
        period_s: seconds from frame to frame in training; None where unknown.
    """

    features: Sequence[str] | None = None
    time: str | None = None
    trained: Sequence[str] | None = None
    period_s: float | None = None

    @property
    def need_header(self) -> bool:
        """Whether a column is named."""
        names = [*(self.features or ()), *([] if self.time is None else [self.time])]
        return not all(name.isdecimal() for name in names)


@dataclass(frozen=True)
class Layout:
    """How a line is divided: the delimiter, the fields per line, the places of the columns.

    `time_factor`: seconds per unit of the time column; None: by the size of its numbers.
    """

    delimiter: str | None
    fields: int
    features: tuple[int, ...]
    time: int | None
    time_factor: float | None


def layout_of(
    number: int, line: bytes, spec: TensorSpec, columns: CsvColumns
) -> tuple[Layout, bool]:
    """The layout by the first line, and whether it is a header.

    Raises:
        DataError: a header that is not UTF-8, or does not fit the model or the columns.
    """
    text, is_utf8 = text_or_damage(line)
    delimiter = next((d for d in ";\t,|" if d in text), None)
    fields = fields_of(text, delimiter)
    has_names = bool(fields) and not any(map(is_number, fields))
    is_header = has_names and len(fields) >= _min_fields(spec)
    is_header &= any(c.isalpha() for c in text)
    if not is_utf8:
        if is_header and are_words(fields):
            check_utf8(number, line)
        text, fields, is_header = "", [], False
    if columns.need_header and not is_header:
        raise DataError(f"a header must name the columns, the first line is {text[:60]!r}: add one")
    names = fields if is_header else [str(n) for n in range(1, len(fields) + 1)]
    if is_header:
        columns = _by_training(names, columns, spec)
    time = _time_place(names, columns, spec, is_header)
    places = _feature_places(names, columns, spec, time, is_header)
    is_chosen = is_header or columns.features is not None
    width = len(names) if is_chosen else spec.size + (time is not None)
    factor = None if time is None else factor_of_name(names[time])
    return Layout(delimiter, width, tuple(places), time, factor), is_header


def _feature_places(
    names: list[str], columns: CsvColumns, spec: TensorSpec, time: int | None, is_header: bool
) -> list[int]:
    """The places of the features, in the order of the model."""
    if columns.features is None:
        places = [n for n in range(len(names)) if n != time]
        if is_header and len(places) != spec.size:
            raise DataError(
                f"the header has {len(places)} columns of features, the model takes {spec.size}: "
                "choose them with `columns` (--columns)"
            )
        # Without a header, the first line may be the damaged one.
        places = places if is_header else [n for n in range(spec.size + 1) if n != time]
        return places[: spec.size]
    places = [_place(name, names) for name in columns.features]
    if len(places) != spec.size:
        raise DataError(
            f"`columns` must name {spec.size} columns, the features of the model, got {len(places)}"
        )
    return places


def _by_training(names: list[str], columns: CsvColumns, spec: TensorSpec) -> CsvColumns:
    """The columns of the features that the model was trained on, by their names.

    Raises:
        DataError: the header has names of its own.
    """
    trained = columns.trained
    if columns.features is not None or trained is None or len(trained) != spec.size:
        return columns
    if all(re.fullmatch(r"column \d+", name) for name in trained):
        return columns  # the training data had no header
    if missing := [name for name in trained if name not in names]:
        raise DataError(
            f"the header has no column {missing[0]!r}, which the model was trained on; it has "
            f"{', '.join(names)[:200]}: choose {', '.join(trained)[:200]} with `columns` "
            "(--columns), in this order"
        )
    return replace(columns, features=tuple(trained))


def _min_fields(spec: TensorSpec) -> int:
    """The fields that a header has at least; one word alone may be a damaged line."""
    return min(2, spec.size)


def _time_place(
    names: list[str], columns: CsvColumns, spec: TensorSpec, is_header: bool
) -> int | None:
    if columns.time is not None:
        return _place(columns.time, names)
    named = [n for n, name in enumerate(names) if without_unit(name) in TIME_NAMES]
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
