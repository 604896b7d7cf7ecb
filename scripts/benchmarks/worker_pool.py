"""A pool of worker processes, in which a crash loses only one job.

A worker is a module that calls `serve` when it is run; `run_all` sends it jobs.
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


def run_all(module: str, jobs: Sequence[Job], what: str, workers: int = 2) -> list[Any]:
    """The answer to each job, in order; "crashed (SIGABRT)" for a job that crashed its worker.

    Args:
        module: the worker, as after `python -m`.
        jobs: the jobs, as JSON values.
        what: the title of the progress bar.
        workers: the number of processes.

    Raises:
        RuntimeError: a worker failed without a crash; the message has the end of its output.
    """
    idle: SimpleQueue[WorkerProcess] = SimpleQueue()
    pool = [WorkerProcess(module) for _ in range(min(workers, len(jobs)))]
    for worker in pool:
        idle.put(worker)

    def answer(job: Job) -> Any:
        worker = idle.get()
        try:
            return worker.ask(job)
        finally:
            idle.put(worker)
            progress.advance(bar)

    with Progress() as progress, ThreadPoolExecutor(len(pool) or 1) as threads:
        bar = progress.add_task(what, total=len(jobs))
        try:
            return list(threads.map(answer, jobs))
        finally:
            threads.shutdown(cancel_futures=True)
            for worker in pool:
                worker.end()


class WorkerProcess:
    """A process that answers jobs; it is started for the first job and after a crash."""

    def __init__(self, module: str) -> None:
        self._command = [sys.executable, "-m", module]
        self._process: subprocess.Popen[str] | None = None
        self._stderr: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115

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
            self._stderr.seek(0)
            raise RuntimeError(f"{self._command} failed: {self._stderr.read()[-300:]}")
        return f"crashed ({signal.Signals(-status).name})"

    def end(self) -> None:
        """End the process; it has no job left."""
        if self._process is not None:
            self._process.communicate()
        self._stderr.close()

    def _start(self) -> "subprocess.Popen[str]":
        paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=self._stderr, text=True, env=environment
        )


def serve(answer: Callable[[Job], Any]) -> None:
    """Answer every job on standard input; called by the worker."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
