"""Reads the cells of a CSV file; detects delimiter, header and decimal sign."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kgated_edge.errors import DataError
from kgated_edge.ingest.csv_encoding import UTF8_MARK, check_not_utf16, check_utf8

DELIMITERS = (";", "\t", "|", ",")
NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " ", "pipe": "|"}
_PROBE = 50  # lines that the delimiter is found by
_DECIMAL_COMMA = re.compile(r"^[+-]?\d*,\d+([eE][+-]?\d+)?$")
_THOUSANDS = re.compile(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
_WHOLE = re.compile(r"^\s*[+-]?\d*\s*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_EXCEL_DELIMITER = re.compile(r'^"?sep=(.)"?$')  # the first line, as Excel reads and writes it
_NO_NAMES = ("", "nan", "na", "n/a", "null", "none", "-")


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file.

    Attributes:
        path: the file.
        names: of the columns; "column 1" and so on where there is no header.
        rows: the cells, one list per line of data, all of the same length.
        lines: the line of the file that each row stands in, from 1.
        has_header: whether the names come from the file.
        delimiter: between the cells.
    """

    path: Path
    names: list[str]
    rows: list[list[str]]
    lines: list[int]
    has_header: bool
    delimiter: str

    def index(self, column: str) -> int:
        """The index of a column, by its name or by its number, from 1.

        Raises:
            ValueError: there is no such column.
        """
        if column in self.names:
            return self.names.index(column)
        if column.isdecimal() and 1 <= int(column) <= len(self.names):
            return int(column) - 1
        raise ValueError(
            f"{self.path}: there is no column {column!r}; the columns are {', '.join(self.names)}"
        )

    def texts(self, column: int) -> list[str]:
        """The cells of a column."""
        return [row[column].strip() for row in self.rows]

    def numbers(self, column: int) -> np.ndarray:
        """The numbers of a column, (rows,) float64.

        Raises:
            ValueError: a cell that is no finite number, with its line and column.
        """
        values = np.empty(len(self.rows))
        for n, row in enumerate(self.rows):
            values[n] = number = to_number(row[column])
            if not np.isfinite(number):
                raise ValueError(self._bad_cell(n, column))
        return values

    def _bad_cell(self, n: int, column: int) -> str:
        cell = self.rows[n][column].strip()
        what = "an empty cell" if not cell else f"{cell[:40]!r}, which is no finite number"
        return (
            f"{self.path}: line {self.lines[n]}, column {self.names[column]!r} holds {what}: mend "
            "the line, or choose the columns by --columns and the label column by --label-column"
        )


def check_decimal_signs(table: Table, columns: Sequence[int]) -> None:
    """Refuse columns of numbers that may have separators of thousands.

    Raises:
        ValueError: numbers with commas beside numbers with points, or commas in groups of three
            digits in a file with commas between the cells.
    """
    texts = {column: table.texts(column) for column in columns}
    commas = [cell for cells in texts.values() for cell in cells if _DECIMAL_COMMA.match(cell)]
    if not commas:
        return
    points = (cell for cells in texts.values() for cell in cells if "." in cell)
    point = next(points, None)
    is_grouped = table.delimiter == "," and all(map(_THOUSANDS.match, commas))
    if point is None and not is_grouped:
        return
    beside = "" if point is None else f" beside {point!r}"
    raise ValueError(
        f"{table.path}: {commas[0]!r}{beside} may have a decimal comma or a separator of "
        "thousands: save the numbers without separators of thousands, with decimal points"
    )


def is_missing(label: str) -> bool:
    """Whether a cell holds no label: it is empty, or NaN, as pandas writes what is missing."""
    return label.strip().lower() in ("", "nan")


def to_number(cell: str) -> float:
    """The number in a cell, with a decimal point or comma; NaN where there is none."""
    text = cell.strip()
    if _DECIMAL_COMMA.match(text):
        text = text.replace(",", ".")
    try:
        return float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan


def read_table(path: Path, delimiter: str | None = None, header: bool | None = None) -> Table:
    """Read a CSV file.

    Empty lines and lines that begin with # are left out.

    Args:
        path: the file, UTF-8.
        delimiter: one character, or "tab", "space", ...; None: found.
        header: whether the first line holds names; None: found.

    Raises:
        ValueError: an empty file, one that is no text, lines of different numbers of cells, a name
            that occurs twice; one sentence with file and line.
        OSError: it can't be read.
    """
    lines = _lines(path)
    if lines and (match := _EXCEL_DELIMITER.match(lines[0][1])):
        delimiter, lines = delimiter or match.group(1), lines[1:]
    if not lines:
        raise ValueError(f"{path}: the file is empty: record it again, or leave it out")
    delimiter = NAMED.get(delimiter, delimiter) if delimiter else _detected(path, lines)
    cells, numbers = _cells(path, lines, delimiter)
    _drop_trailing(cells)
    if header is None:
        header = _is_header(cells)
    _check_width(path, cells, numbers, header)
    if not header:
        names = [f"column {n + 1}" for n in range(len(cells[0]))]
        return Table(path, names, cells, numbers, False, delimiter)
    if len(cells) == 1:
        raise ValueError(f"{path}: there is a header and no line of data: record it again")
    return Table(path, _names(path, cells[0]), cells[1:], numbers[1:], True, delimiter)


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines with their numbers, from 1."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise OSError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    try:
        check_not_utf16(content)
        content = content.removeprefix(UTF8_MARK)
        if not content.isascii() or b"\0" in content:
            for number, line in enumerate(content.splitlines(), 1):
                check_utf8(number, line)
    except DataError as error:
        raise ValueError(f"{path}: {error}") from None
    numbered = enumerate(_LINE_END.split(content.decode("utf-8")), 1)
    return [(n, line) for n, line in numbered if line.strip() and not line.startswith("#")]


def _detected(path: Path, lines: list[tuple[int, str]]) -> str:
    try:
        return find_delimiter([text for _, text in lines[:_PROBE]])
    except csv.Error as error:
        raise _no_csv(path, error) from None


def _cells(
    path: Path, lines: list[tuple[int, str]], delimiter: str
) -> tuple[list[list[str]], list[int]]:
    """The cells of each row, and the line that it begins in; quoted cells may hold line ends."""
    texts = [text for _, text in lines]
    if delimiter == " ":
        return [text.split() for text in texts], [number for number, _ in lines]
    if len(delimiter) != 1:
        raise ValueError(f"`delimiter` must be one character or {list(NAMED)}. Got {delimiter!r}")
    reader = csv.reader(texts, delimiter=delimiter, skipinitialspace=True)
    rows, numbers, first = [], [], 0
    try:
        for row in reader:
            rows.append(row)
            numbers.append(lines[first][0])
            first = reader.line_num
    except csv.Error as error:
        raise _no_csv(path, error) from None
    return rows, numbers


def _no_csv(path: Path, error: csv.Error) -> ValueError:
    return ValueError(f"{path}: this is not a CSV file ({error}): save it again")


def find_delimiter(lines: Sequence[str]) -> str:
    """The delimiter that cuts most lines into the same number of cells, more than one."""
    best, score = ",", 0
    for delimiter in (*DELIMITERS, " "):
        counts = [_count(line, delimiter) for line in lines[:_PROBE]]
        several = [count for count in counts if count > 1]
        agreeing = max((several.count(count) for count in set(several)), default=0)
        if agreeing > score and (delimiter != " " or agreeing == len(counts)):
            best, score = delimiter, agreeing
    return best


def _count(line: str, delimiter: str) -> int:
    if delimiter == " ":
        return len(line.split())
    return len(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True)))


def _drop_trailing(cells: list[list[str]]) -> None:
    """Drop the empty cell after a delimiter at the end of each line."""
    first, *data = cells
    if not data or not all(len(row) > 1 and not row[-1].strip() for row in data):
        return
    if first[-1].strip() and len(first) == len(data[0]):
        return  # the last column has a name, and its cells are empty
    for row in data:
        row.pop()
    if not first[-1].strip():
        first.pop()


def _is_header(cells: list[list[str]]) -> bool:
    """Whether the first line has text where the next has numbers, or has text alone."""
    first = [np.isfinite(to_number(cell)) for cell in cells[0]]
    if not any(first):
        # NaN or nothing in all cells is a line of data, which is refused as such.
        return any(cell.strip().lower() not in (*_NO_NAMES, "inf", "-inf") for cell in cells[0])
    second = [np.isfinite(to_number(cell)) for cell in cells[1]] if len(cells) > 1 else first
    return any(
        b and not a and cells[0][n].strip()
        for n, (a, b) in enumerate(zip(first, second, strict=False))
    )


def _check_width(path: Path, cells: list[list[str]], lines: list[int], header: bool) -> None:
    width = len(cells[0])
    for row, line in zip(cells, lines, strict=True):
        if len(row) == width:
            continue
        hint = "mend the line"
        if header and len(row) == 2 * width and all(map(_WHOLE.match, row)):
            hint = "with decimal commas, save the file with semicolons between the cells"
        raise ValueError(
            f"{path}: line {line} has {len(row)} cells, line {lines[0]} has {width}: {hint}"
        )


def _names(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() or f"column {n + 1}" for n, cell in enumerate(cells)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{path}: the header has the name {name!r} twice: rename one of the columns"
            )
    return names
