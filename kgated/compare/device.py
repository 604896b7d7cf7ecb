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
    """What a file is held to.

    Attributes:
        deadline_ms: the longest that a step may take.
        max_misses: how many steps may take longer.
        min_accuracy: least share of right decisions, 0..1.
    """

    deadline_ms: float
    max_misses: int
    min_accuracy: float


@dataclass(frozen=True)
class Checked:
    """What the device side found; see `kgated_edge.CheckResult`."""

    accuracy: float
    latency: Latency
    deadline_misses: int
    peak_memory_mib: float | None
    failures: tuple[str, ...]


def run_check(model: Path, data: Path, limits: Limits) -> Checked:
    """Run a file over a data set by the runner alone: no Keras in the process, no threads of ours.

    Raises:
        RuntimeError: the runner could not do it; with its own message.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "check.json")
        command = [sys.executable, "-m", "kgated_edge", "check", model, "--data", data]
        command += ["--deadline-ms", limits.deadline_ms, "--max-misses", limits.max_misses]
        command += ["--min-accuracy", limits.min_accuracy, "--json", found]
        run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if run.returncode not in (0, 1):
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise RuntimeError(f"{model}: the check did not run: {lines[-1]}")
        return _checked(json.loads(found.read_text()))


def _checked(content: dict[str, Any]) -> Checked:
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
    )
