"""Rows of results: compared with a target, and formatted for a terminal or as Markdown."""

from typing import Any

from rich.table import Table

Row = dict[str, Any]


def judged(row: Row, ratio: float, target: float | None) -> Row:
    """The row with its ratio, the maximum ratio, and whether it is met. None: no target."""
    is_met = None if target is None else ratio <= target
    return {**row, "ratio": ratio, "target": target, "met": is_met}


def missed(rows: list[Row]) -> list[Row]:
    """The rows that miss their target."""
    return [row for row in rows if row["met"] is False]


def table(rows: list[Row], title: str) -> Table:
    """The rows as a table for a terminal."""
    drawn = Table(title=title)
    for name in rows[0]:
        drawn.add_column(_title(name), justify="right")
    for row in rows:
        style = "bold red" if row.get("met") is False else None
        drawn.add_row(*map(text, row.values()), style=style)
    return drawn


def markdown(rows: list[Row], title: str) -> str:
    """The rows as a Markdown table."""
    lines = [list(map(_title, rows[0])), ["---"] * len(rows[0])]
    lines += [list(map(text, row.values())) for row in rows]
    return "\n".join([f"{title}:", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def text(value: Any) -> str:
    """The text of a value in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _title(name: str) -> str:
    return name.removesuffix("_us").replace("_", " ") + (" µs" if name.endswith("_us") else "")
