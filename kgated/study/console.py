"""The output of a study on the terminal: lines of its log, and tables."""

from collections.abc import Callable, Iterable

from rich.console import Console
from rich.table import Table

Log = Callable[[str], None]
"""Takes a line of the log."""
TableRow = dict[str, str]
"""Column name to text; all rows of a table have the same columns."""


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they are, without highlighting and without breaks in words."""
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False)


def log_to(console: Console) -> Log:
    """A function that prints each line of a log."""
    return lambda line: print_lines(console, [line])


def terminal_table(rows: list[TableRow]) -> Table:
    """Rows as a table for the terminal; the first column to the left."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for n, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if n else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    return table
