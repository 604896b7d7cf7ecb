"""Work in processes of its own: a crash costs the piece of work that it came from, no more.

A child is a module that is run and calls `serve`; `run_all` gives it its pieces.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from rich.progress import Progress

SCRIPTS = Path(__file__).parents[1]
Job = dict[str, Any]  # as JSON has it


def run_all(module: str, jobs: Sequence[Job], what: str, children: int = 2) -> list[Any]:
    """The answer to each job, in order; "crashed (SIGABRT)" where it ended its process.

    Args:
        module: the child, as after `python -m`.
        jobs: the work.
        what: its name, for the progress bar.
        children: how many work at once.

    Raises:
        RuntimeError: a child failed otherwise, with the end of what it said.
    """
    idle: SimpleQueue[Child] = SimpleQueue()
    crew = [Child(module) for _ in range(min(children, len(jobs)))]
    for child in crew:
        idle.put(child)

    def answer(job: Job) -> Any:
        child = idle.get()
        try:
            return child.ask(job)
        finally:
            idle.put(child)
            progress.advance(bar)

    with Progress() as progress, ThreadPoolExecutor(len(crew) or 1) as threads:
        bar = progress.add_task(what, total=len(jobs))
        try:
            return list(threads.map(answer, jobs))
        finally:
            threads.shutdown(cancel_futures=True)
            for child in crew:
                child.end()


class Child:
    """A process that answers jobs, started at the first and again after a crash."""

    def __init__(self, module: str) -> None:
        self._command = [sys.executable, "-m", module]
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115

    def ask(self, job: Job) -> Any:
        """The answer, or "crashed (...)"."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        if line := process.stdout.readline():
            return json.loads(line)
        self._process = None
        process.communicate()  # closes its pipes, too
        status = process.returncode
        if status >= 0:
            self._said.seek(0)
            raise RuntimeError(f"{self._command} failed: {self._said.read()[-300:]}")
        return f"crashed ({signal.Signals(-status).name})"

    def end(self) -> None:
        """Let it end; it has nothing left to do."""
        if self._process is not None:
            self._process.communicate()
        self._said.close()

    def _start(self) -> "subprocess.Popen[str]":
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=self._said, text=True, env=environment
        )


def serve(answer: Callable[[Job], Any]) -> None:
    """The child's half: answer every job that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
