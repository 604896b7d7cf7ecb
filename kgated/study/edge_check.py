"""Runs `kgated-edge check` in a separate process, as on a device, and reads its report."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated_edge.evaluation.limits import METRICS


@dataclass(frozen=True)
class Latency:
    """The time of one step on the device.

    Attributes:
        us_p50, us_p99, us_max: in microseconds.
        edges_us: n + 1 edges of a histogram.
        counts: n counts of steps.
    """

    us_p50: float
    us_p99: float
    us_max: float
    edges_us: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Limits:
    """The limits for one file.

    Attributes:
        deadline_ms: maximum time of a step.
        max_misses: maximum number of steps that take longer.
        min_accuracy: minimum accuracy, 0..1; None: no limit.
    """

    deadline_ms: float
    max_misses: int
    min_accuracy: float | None = None

    def arguments(self, task: str | None = None) -> list[str]:
        """The options of `kgated-edge check`, with the task by which the outputs are scored."""
        options = ["--deadline-ms", f"{self.deadline_ms!r}", "--max-misses", f"{self.max_misses}"]
        if self.min_accuracy is not None:
            options += ["--min-accuracy", f"{self.min_accuracy!r}"]
        return options if task is None else [*options, "--task", task]


@dataclass(frozen=True)
class CheckReport:
    """The results of `kgated-edge check`; see `kgated_edge.CheckResult`.

    Attributes:
        metrics: the metrics of the task, by name.
        latency, deadline_misses, peak_memory_mib, failures, real_time_factor: as in `CheckResult`.
    """

    metrics: dict[str, float]
    latency: Latency
    deadline_misses: int
    peak_memory_mib: float | None
    failures: tuple[str, ...]
    real_time_factor: float | None

    @property
    def accuracy(self) -> float:
        """The fraction of correct decisions."""
        return self.metrics["accuracy"]


def run_check(model: Path, data: Path, limits: Limits, task: str | None = None) -> CheckReport:
    """Run a file over a data set in a process without Keras and its threads.

    Args:
        model: the `.tflite` file.
        data: the `.npz` file.
        limits: of the run.
        task: by which the outputs are scored; None: the runner chooses.

    Raises:
        RuntimeError: the runner failed; with the runner's message.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "check.json")
        command = [sys.executable, "-m", "kgated_edge", "check", str(model), "--data", str(data)]
        command += [*limits.arguments(task), "--json", str(report)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode not in (0, 1):
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise RuntimeError(f"{model}: the check did not run: {lines[-1]}")
        return read_report(json.loads(report.read_text()))


def read_report(content: dict[str, Any]) -> CheckReport:
    """The report in the JSON document of `kgated-edge check --json`."""
    quality, histogram = content["quality"] or {}, content["latency_histogram"]
    latency = Latency(
        content["latency_us_p50"],
        content["latency_us_p99"],
        content["latency_us_max"],
        tuple(histogram["edges_us"]),
        tuple(histogram["counts"]),
    )
    return CheckReport(
        {name: quality[name] for name in METRICS if quality.get(name) is not None},
        latency,
        content["deadline_misses"],
        content["peak_memory_mib"],
        tuple(content["failures"]),
        content["real_time_factor"],
    )
