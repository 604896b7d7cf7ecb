"""Follows docs/index.md as a new user would, and prints the seconds of each step.

`python scripts/time_start.py` makes an environment of its own and installs the checkout into it;
`--here` uses the packages of this environment.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "index.md"
HEADING = re.compile(r"^## (\d+\. .*)$", re.MULTILINE)
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def steps() -> list[tuple[str, list[tuple[str, str]]]]:
    """The numbered steps of the page: heading, and the language and code of each block."""
    parts = HEADING.split(PAGE.read_text())[1:]
    return [(parts[n], BLOCK.findall(parts[n + 1])) for n in range(0, len(parts), 2)]


def seconds_of(blocks: list[tuple[str, str]], folder: Path, path: str) -> float:
    """Run the blocks of a step in a folder; return the time that it took."""
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    for language, code in blocks:
        command = ["python", "-c", code] if language == "python" else ["bash", "-euc", code]
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return time.perf_counter() - start


def main(
    here: Annotated[
        bool, typer.Option("--here", help="Use this environment; install nothing.")
    ] = False,
) -> None:
    install, *others = steps()
    with tempfile.TemporaryDirectory() as temporary:
        folder, times = Path(temporary), {}
        if here:
            programs = Path(sys.executable).parent
        else:
            code = "\n".join(code for _, code in install[1]).replace(".venv", f"{folder}/.venv")
            times[install[0]] = seconds_of([("sh", code)], ROOT, os.environ["PATH"])
            programs = folder / ".venv" / "bin"
        for heading, blocks in others:
            path = f"{programs}{os.pathsep}{os.environ['PATH']}"
            times[heading] = seconds_of(blocks, folder, path)
        print("\n| step | seconds |\n|---|---|")
        for heading, seconds in (times | {"together": sum(times.values())}).items():
            print(f"| {heading} | {seconds:.0f} |")


if __name__ == "__main__":
    typer.run(main)
