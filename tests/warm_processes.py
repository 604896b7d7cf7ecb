"""Python programs in processes that have Keras and TensorFlow from the start.

Each is a fork of one process that only imports them, so a program starts at once, where a new
interpreter takes some seconds of a core to import TensorFlow. Everything else is as in a new
interpreter: arguments, environment, folder, output, exit status, signals; Kgated is not imported
before. Use `subprocess` where the start of the interpreter or what it imports is tested.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["keras", "tensorflow", "optuna"])
LIMIT_S = 600


class Program:
    """A running program: `python *arguments`.

    Attributes:
        returncode: its exit status, minus the number of the signal that ended it, or None.
    """

    def __init__(self, *arguments, environment=None, cwd=None):
        folder = tempfile.TemporaryDirectory()
        weakref.finalize(self, folder.cleanup)
        self.arguments = [str(argument) for argument in arguments]
        self._streams = [Path(folder.name, name) for name in ("stdout", "stderr")]
        settings = ([str(path) for path in self._streams], dict(environment or os.environ))
        self._process = CONTEXT.Process(target=_main, args=(self.arguments, *settings, cwd))
        self._process.start()

    @property
    def pid(self):
        return self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def wait(self, timeout=LIMIT_S):
        """The whole output, as `subprocess.run` returns it."""
        self._process.join(timeout)
        assert self.returncode is not None, f"{self.arguments} takes more than {timeout} s"
        texts = [path.read_text() if path.exists() else "" for path in self._streams]
        return subprocess.CompletedProcess(self.arguments, self.returncode, *texts)


def run(*arguments, environment=None, cwd=None):
    """Runs `python *arguments` to its end."""
    return Program(*arguments, environment=environment, cwd=cwd).wait()


def _main(arguments, streams, environment, cwd):
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd or os.getcwd())
    first, *rest = arguments
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    elif first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")
