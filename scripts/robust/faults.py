"""Faults injected into one run of a command, each in a forked process: full disks, failed mallocs.

A fault is the k-th operation of its kind. The run must end with code 0, where the fault did not
matter, or with code 2 and one line on stderr, and must leave each output as it was or whole.
"""

import builtins
import errno
import faulthandler
import io
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIMIT_S = 60
PREFIXES = ("kgated-edge: error: ", "kgated: error: ")
"""How the line on stderr begins."""
Fault = Callable[[], Callable[[], int]]
"""Switches a fault on; what it returns switches it off and returns the number of operations."""


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        code: the exit code, negative for a signal.
        error: what it wrote to stderr.
        operations: how many operations of the fault's kind there were; 0 where it died.
    """

    code: int
    error: str
    operations: int

    def violation(self) -> str:
        """What is wrong with the way it ended, or an empty text."""
        lines = [line for line in self.error.splitlines() if not line.startswith("INFO:")]
        if self.code == 0:
            return ""
        if self.code < 0:  # the first place that faulthandler wrote
            places = [line.strip() for line in lines if line.startswith("  File ")]
            return f"exit {self.code}: {' '.join(places[:1])}"
        if self.code != 2:
            return f"exit {self.code}: {' '.join(lines[-2:])}"
        is_clear = bool(lines) and any(prefix in lines[-1] for prefix in PREFIXES)
        return "" if is_clear and "Traceback" not in self.error else f"unclear: {self.error[-300:]}"


def run(command: Callable[[], int], fault: Fault, limit_s: int = LIMIT_S) -> Run:
    """Run a command in a forked process with a fault; it is killed after `limit_s`."""
    with tempfile.TemporaryFile() as stderr, tempfile.TemporaryFile() as report:
        child = os.fork()
        if child == 0:
            _child(command, fault, (stderr.fileno(), report.fileno()), limit_s)
        _, status = os.waitpid(child, 0)
        texts = [(file.seek(0), file.read())[1] for file in (stderr, report)]
    operations = int(texts[1] or 0)
    return Run(os.waitstatus_to_exitcode(status), texts[0].decode(errors="replace"), operations)


def full_disk(number: int) -> Fault:
    """The operation of this number that needs space on the disk fails, counted from 1."""

    def switch_on() -> Callable[[], int]:
        counter = _Counter(number)
        files: Any = io.open

        def opened(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return files(file, mode, *rest, **options)
            counter.count()
            return _File(files(file, mode, *rest, **options), counter)

        vars(io)["open"] = vars(builtins)["open"] = opened
        for name in ("replace", "fsync", "mkdir"):
            vars(os)[name] = counter.counted(getattr(os, name))
        return lambda: counter.operations

    return switch_on


def no_memory(number: int, onwards: bool = False) -> Fault:
    """The allocation of this number in Python fails, counted from 1, and all after it."""
    import _testcapi

    def switch_on() -> Callable[[], int]:
        _testcapi.set_nomemory(number, 0 if onwards else number + 1)

        def switch_off() -> int:
            _testcapi.remove_mem_hooks()
            return 0

        return switch_off

    return switch_on


class _Counter:
    def __init__(self, number: int) -> None:
        self.number, self.operations = number, 0

    def count(self) -> None:
        self.operations += 1
        if self.operations == self.number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def with_count(*arguments: Any, **options: Any) -> Any:
            self.count()
            return call(*arguments, **options)

        return with_count


class _File:
    """A file whose writes are counted; it is closed like any other."""

    def __init__(self, file: Any, counter: _Counter) -> None:
        self._file, self._counter = file, counter

    def write(self, content: Any) -> Any:
        self._counter.count()
        return self._file.write(content)

    def flush(self) -> None:
        self._counter.count()
        self._file.flush()

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _child(command: Callable[[], int], fault: Fault, files: tuple[int, int], limit_s: int) -> None:
    """Runs in the forked process and ends it; `files`: its stderr, and the number of operations."""
    code, (stderr, report) = 99, files
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(stderr, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        faulthandler.enable(2)
        faulthandler.register(signal.SIGALRM, 2, all_threads=False, chain=True)
        signal.alarm(limit_s)
        switch_off = fault()
        try:
            code = command()
        finally:
            os.write(report, str(switch_off()).encode())
    except MemoryError as error:
        # Before its first line, the command is not there to say so.
        code = 2 if len(traceback.extract_tb(error.__traceback__)) <= 2 else code
        os.write(2, b"kgated-edge: error: out of memory\n")
    except BaseException as error:
        places = [f"{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
        os.write(2, f"{type(error).__name__}: {error} at {' '.join(places)}\n".encode())
    finally:
        os._exit(code)
