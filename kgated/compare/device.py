"""`kgated-edge check` in a process of its own, as it runs on a device."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.compare.results import Latency


@dataclass(frozen=True)
class Limits:
    """The limits for one file.

    Attributes:
        deadline_ms: maximum time of a step.
        max_misses: maximum number of steps that take longer.
        min_accuracy: minimum accuracy, 0..1.
    """

    deadline_ms: float
    max_misses: int
    min_accuracy: float

    def arguments(self) -> list[str]:
        """The options of `kgated-edge check`."""
        deadline, misses = f"{self.deadline_ms!r}", str(self.max_misses)
        options = ["--deadline-ms", deadline, "--max-misses", misses]
        return [*options, "--min-accuracy", f"{self.min_accuracy!r}"]


@dataclass(frozen=True)
class Checked:
    """The results of `kgated-edge check`; see `kgated_edge.CheckResult`."""

    accuracy: float
    latency: Latency
    deadline_misses: int
    peak_memory_mib: float | None
    failures: tuple[str, ...]
    real_time_factor: float | None


def run_check(model: Path, data: Path, limits: Limits) -> Checked:
    """Run a file over a data set in a process of the runner alone, without Keras and its threads.

    Raises:
        RuntimeError: the runner failed; with the runner's message.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "check.json")
        command = [sys.executable, "-m", "kgated_edge", "check", str(model), "--data", str(data)]
        command += [*limits.arguments(), "--json", str(report)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode not in (0, 1):
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise RuntimeError(f"{model}: the check did not run: {lines[-1]}")
        return read_report(json.loads(report.read_text()))


def read_report(content: dict[str, Any]) -> Checked:
    """The results in what `kgated-edge check --json` wrote."""
    histogram = content["latency_histogram"]
    latency = Latency(
        content["latency_us_p50"],
        content["latency_us_p99"],
        content["latency_us_max"],
        tuple(histogram["edges_us"]),
        tuple(histogram["counts"]),
    )
    return Checked(
        content["accuracy"],
        latency,
        content["deadline_misses"],
        content["peak_memory_mib"],
        tuple(content["failures"]),
        content["real_time_factor"],
    )
