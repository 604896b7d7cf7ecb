"""Environments of the engines: each has its own, since their dependencies conflict."""

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 900.0


@dataclass(frozen=True)
class Environment:
    """A Python that has an engine.

    Attributes:
        python: its interpreter; None where the packages cannot be installed.
        reason: why not.
    """

    python: Path | None
    reason: str = ""


def environment(folder: Path, name: str, packages: tuple[str, ...]) -> Environment:
    """The environment of an engine; made where it is not there.

    Args:
        folder: of all environments, which is kept.
        name: the engine.
        packages: as pip takes them.
    """
    own = folder / name
    python, done = own / "bin" / "python", own / "installed"
    if not done.exists():
        venv.create(own, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        command = [*pip, "install", "--quiet", *packages]
        try:
            process = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            return Environment(None, f"pip takes longer than {_SECONDS:g} s")
        if process.returncode != 0:
            errors = [line for line in process.stderr.splitlines() if line.startswith("ERROR")]
            return Environment(None, " ".join(errors)[:200] or "pip fails")
        done.write_text(" ".join(packages))
    return Environment(python)
