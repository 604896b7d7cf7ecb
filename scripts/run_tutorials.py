"""Runs the tutorials and writes their outputs: `python scripts/run_tutorials.py speakers`."""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from docs_site.notebooks import run, with_outputs

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"


def main(names: Annotated[list[str], typer.Argument(help="Pages of docs/tutorials.")]) -> None:
    for name in names:
        page, start = FOLDER / f"{name}.md", time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            runs = list(run(page))
            os.chdir(FOLDER)
        page.write_text(with_outputs(page.read_text(), runs))
        print(f"{name}: {len(runs)} cells in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    typer.run(main)
