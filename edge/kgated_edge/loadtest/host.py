"""Host settings of a run: scheduling priority, CPU affinity, locked memory, background load.

Each is undone when its block ends.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from kgated_edge.errors import EdgeError

_LOCK_ALL = 1 | 2  # MCL_CURRENT | MCL_FUTURE
# It ends by itself when its parent process is gone, however that ended.
_BUSY = """
import os, sys
print(flush=True)
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def scheduling_and_affinity(
    priority: int | None, cpu: int | None, lock_memory: bool
) -> Iterator[None]:
    """Sets this thread's scheduling and affinity, and locks memory.

    Args:
        priority: real-time priority, SCHED_FIFO, 1..99; None for the ordinary scheduler.
        cpu: the only CPU to run on; None for any.
        lock_memory: whether to keep all memory from being swapped out.

    Raises:
        EdgeError: the system does not support this, or the process lacks the right to it.
    """
    with ExitStack() as stack:
        if cpu is not None:
            stack.enter_context(_pinned(cpu))
        if lock_memory:
            stack.enter_context(_locked())
        if priority is not None:
            stack.enter_context(_prioritized(priority))
        yield


@contextmanager
def background_load(count: int) -> Iterator[None]:
    """Runs busy processes in the background; all have started when the block begins.

    Raises:
        EdgeError: a process did not start.
    """
    command = [sys.executable, "-I", "-S", "-c", _BUSY, str(os.getpid())]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            # In their own process group, so that Ctrl-C in a terminal reaches this process alone.
            process = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0)
            running.append(process)
            if process.stdout is None or not process.stdout.readline():
                raise EdgeError("`load`: a busy process did not start: run with less load")
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()


@contextmanager
def _pinned(cpu: int) -> Iterator[None]:
    _require_linux("cpu")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, ValueError, OverflowError):
        raise EdgeError(
            f"`cpu` must be one that this process may use, {sorted(before)}, got {cpu}: name one"
        ) from None
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _prioritized(priority: int) -> Iterator[None]:
    _require_linux("priority")
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        raise EdgeError(
            f"`priority` needs the right to real-time scheduling ({error.strerror}): run as root, "
            "give CAP_SYS_NICE, raise `ulimit -r`, or leave it out"
        ) from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameter)


@contextmanager
def _locked() -> Iterator[None]:
    _require_linux("lock_memory")
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(_LOCK_ALL) != 0:
        raise EdgeError(
            f"`lock_memory` needs the right to lock memory ({os.strerror(ctypes.get_errno())}): "
            "run as root, give CAP_IPC_LOCK, raise `ulimit -l`, or leave it out"
        )
    try:
        yield
    finally:
        library.munlockall()


def _require_linux(what: str) -> None:
    if not sys.platform.startswith("linux"):
        raise EdgeError(f"`{what}` is for Linux, this is {sys.platform}: leave it out")
