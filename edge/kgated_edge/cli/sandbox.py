"""Runs a file in a sandbox: a separate process that may crash or hang instead of this one."""

import subprocess
import sys
from collections.abc import Sequence

from kgated_edge.errors import ManifestError
from kgated_edge.format.verified_file import ModelPath

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
    path: ModelPath,
    num_threads: int = 1,
    arguments: Sequence[str] = (),
    *,
    seconds: float = 60.0,
    memory_mib: int = 4096,
) -> None:
    """Replays the golden frames of a file in a child process, with limits of time and memory.

    Args:
        path: a `.tflite` file of any origin.
        num_threads: threads of the interpreter.
        arguments: more arguments of `selftest`.
        seconds: time limit.
        memory_mib: limit of address space, where the system supports one.

    Raises:
        ManifestError: the process crashed or took too long. Errors that it reports itself are
            left to the run in this process, which raises them again.
    """
    limits = [str(memory_mib << 20), str(path), "--threads", str(num_threads), *arguments]
    command = [sys.executable, "-P", "-c", _CHILD, *limits]
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, timeout=seconds, stdin=quiet, stdout=quiet, stderr=quiet)
    except subprocess.TimeoutExpired:
        raise ManifestError(
            f"{path}: the interpreter takes longer than {seconds:g} s for it: do not run it"
        ) from None
    if done.returncode not in (0, 1, 2):
        raise ManifestError(
            f"{path}: the interpreter crashes on it (exit {done.returncode}): do not run it"
        )
