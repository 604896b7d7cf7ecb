"""A file tried out in a process of its own, which may die or hang in the place of this one."""

import subprocess
import sys
from pathlib import Path

from kgated_edge.errors import ManifestError

_CHILD = """
import sys
try:
    import resource
except ImportError:
    pass
else:
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from kgated_edge.cli.main import main
sys.exit(main(["selftest", *sys.argv[2:]]))
"""


def run_in_sandbox(
    path: str | Path, num_threads: int = 1, seconds: float = 60.0, memory_mib: int = 4096
) -> None:
    """Replays the golden frames of a file in a child process, and waits for its end.

    Args:
        path: a `.tflite` file of whatever origin.
        num_threads: threads of the interpreter.
        seconds: how long it may take.
        memory_mib: how much address space it may take, where the system limits that.

    Raises:
        ManifestError: the process died, or took longer. What it says itself is for the next run,
            in this process, to say again.
    """
    limits = [str(memory_mib << 20), str(path), "--threads", str(num_threads)]
    command = [sys.executable, "-P", "-c", _CHILD, *limits]
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, timeout=seconds, stdin=quiet, stdout=quiet, stderr=quiet)
    except subprocess.TimeoutExpired:
        raise ManifestError(
            f"{path}: the interpreter takes longer than {seconds:g} s over it: do not run it"
        ) from None
    if done.returncode not in (0, 1, 2):
        raise ManifestError(
            f"{path}: the interpreter does not survive it (exit {done.returncode}): do not run it"
        )
