"""Draws the cells for docs/concepts/cells.md: `python scripts/draw_cells.py`."""

import argparse
from pathlib import Path

from docs_site.cells import CELLS
from docs_site.diagram import THEMES

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "cells"


def pictures() -> dict[str, str]:
    """The text of each SVG file by its name."""
    return {
        f"{name}-{theme}.svg": cell.svg(theme) for name, cell in CELLS.items() for theme in THEMES
    }


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pictures().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
