"""Work that is done in a process of its own, so that a crash there is an error here."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from kgated.errors import ConversionError


def run(module: str, arguments: Sequence[str], what: str, environment: Mapping[str, str]) -> None:
    """Run a Python module in a process of its own, and wait for it.

    Args:
        module: as after `python -m`.
        arguments: its command line.
        what: the work, as in "the quantizer, recipe stream-int8", for the error.
        environment: variables to set over there beside this process's own.

    Raises:
        ConversionError: it failed, with the last line that it wrote, or a signal ended it.
    """
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit status {done.returncode}"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ConversionError(
            f"{what} crashed ({name}): {last}; nothing was written. Try another `quantize`"
        )
    raise ConversionError(last.removeprefix("kgated: error: "))
