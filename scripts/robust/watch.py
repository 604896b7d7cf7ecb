"""Run cases in workers that may die or hang, and report the outcome of each case."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kgated_edge.measure.monitor import peak_memory_mib

LIMIT_S, START_S, MEMORY_BYTES = 20, 60, 3 << 30


@dataclass
class Report:
    """The outcomes of cases.

    Attributes:
        outcomes: number of each (kind, outcome).
        notes: the first cases with an outcome other than "refused" and "ran", with their message.
        peak_mib: the peak memory of a worker.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    peak_mib: float = 0.0

    def add(self, case: str, kind: str, outcome: str, note: str = "") -> None:
        """Counts a case."""
        self.outcomes[kind, outcome] += 1
        if outcome not in ("refused", "ran") and len(self.notes) < 40:
            self.notes.append(f"{kind} {case}: {outcome} {note}".rstrip())


def watch(
    command: Sequence[str], cases: Sequence[tuple[int, str]], limit_s: float = LIMIT_S
) -> Report:
    """Run cases in a worker, and start a new worker after one that dies or hangs.

    Args:
        command: starts a worker; it reads lines "number kind", and answers each with a line
            "number outcome note", at the end of its input with a line "peak MiB".
        cases: number and kind.
        limit_s: a worker that is silent for longer counts as hanging; the first answer may take a
            minute.
    """
    report, left = Report(), list(cases)
    while left:
        answers, status = _work(command, left, limit_s)
        for line in answers:
            number, _, rest = line.partition(" ")
            outcome, _, note = rest.partition(" ")
            if number == "peak":
                report.peak_mib = max(report.peak_mib, float(outcome))
                continue
            case, kind = left.pop(0)
            assert number == str(case), f"a worker answered {number} to {case}"
            report.add(number, kind, outcome, note)
        if left:
            case, kind = left.pop(0)
            report.add(str(case), kind, *status)
    return report


def _work(
    command: Sequence[str], cases: Sequence[tuple[int, str]], limit_s: float
) -> tuple[list[str], tuple[str, str]]:
    """The answers of one worker, and the outcome of the case that ended it."""
    with tempfile.TemporaryFile() as requests, tempfile.TemporaryFile() as answers:
        requests.write("".join(f"{case} {kind}\n" for case, kind in cases).encode())
        requests.seek(0)
        quiet = subprocess.DEVNULL
        worker = subprocess.Popen(command, stdin=requests, stdout=answers, stderr=quiet)
        size, since = 0, time.monotonic()
        while worker.poll() is None:
            time.sleep(0.02)
            if (now := os.fstat(answers.fileno()).st_size) != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > (limit_s if size else max(limit_s, START_S)):
                worker.kill()
                worker.wait()
                break
        answers.seek(0)
        lines = answers.read().decode(errors="replace").splitlines()
    hung = worker.returncode == -signal.SIGKILL
    return lines, ("hang", "") if hung else ("crash", f"exit {worker.returncode}")


def answer(run: Callable[[int, str], tuple[str, str]]) -> None:
    """Run the cases on standard input; called by the worker.

    Args:
        run: takes number and kind, returns outcome and note.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        number, kind = line.split()
        outcome, note = run(int(number), kind)
        print(number, outcome, " ".join(note.split())[:200], flush=True)
    # The peak of the whole process includes memory that a case has already released.
    print("peak", peak_memory_mib() or 0.0, flush=True)
