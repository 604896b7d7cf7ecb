"""What `kgated-edge check --json` and `realtime --json` wrote, read back."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Series:
    """How the times of a run went on: slices of equally many steps, in microseconds.

    Attributes:
        steps_per_slice: steps in each slice.
        period_s: seconds between the arrivals of two steps, None where they were not on a schedule.
        p50_us, max_us: the median and the longest step of each slice.
    """

    steps_per_slice: int
    period_s: float | None
    p50_us: tuple[float, ...]
    max_us: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """One result file.

    Attributes:
        name: what tells it from the other results of the page.
        model, device, command: what ran where, and how: "check" or "realtime".
        about: the device in words.
        model_bytes: size of the model file.
        steps: steps run.
        p50_us, p99_us, max_us: time of a step; of a real-time run from a frame's arrival on.
        edges_us, counts: the same times in logarithmic bins.
        series: the same times in order.
        deadline_ms: the limit on one step, or None.
        misses: steps that took longer, or None without a deadline.
        accuracy: share of right decisions, or None.
        accuracy_over_frames: the same after each step, empty where it is not known.
        real_time_factor: step time / period, or None.
        memory_mib: the most that the process held, or at the end of a real-time run, or None.
        load: busy processes beside it.
        streams: models or sessions that took a frame each in a step.
        passed, failures: whether all limits were kept; a sentence per limit missed.
    """

    name: str
    model: str
    device: str
    command: str
    about: str
    model_bytes: int
    steps: int
    p50_us: float
    p99_us: float
    max_us: float
    edges_us: tuple[float, ...]
    counts: tuple[int, ...]
    series: Series
    deadline_ms: float | None
    misses: int | None
    accuracy: float | None
    accuracy_over_frames: tuple[float, ...]
    real_time_factor: float | None
    memory_mib: float | None
    load: int
    streams: int
    passed: bool
    failures: tuple[str, ...]


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Reads result files, in their order.

    Raises:
        ValueError: a file is no result of `check` or `realtime`, or lacks something; it is named.
        OSError: a file cannot be read.
    """
    found: list[Run] = []
    for path in map(Path, paths):
        result = _load(path)
        run = _RUNS[result["command"]]
        try:
            values = run(result) | _shared(result)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}: a result of another version of kgated-edge ({error!r}): run it again "
                "with the one that belongs to this kgated"
            ) from None
        found.append(Run(name=_name(values, path, found), **values))
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}): give what `--json` wrote") from None
    command = result.get("command") if isinstance(result, dict) else None
    if not isinstance(command, str) or command not in _RUNS:
        raise ValueError(
            f"{path}: must be what `kgated-edge check --json` or `realtime --json` wrote, got "
            f"{'the result of ' + repr(command) if command else 'something else'}"
        )
    return result


def _shared(result: dict[str, Any]) -> dict[str, Any]:
    device = result["device"]
    words = (device["processor"], device["machine"], device["system"])
    return {
        "model": Path(result["model"]).name,
        "device": device["name"],
        "command": result["command"],
        "about": ", ".join(word for word in words if word),
        "model_bytes": result["model_bytes"],
        "deadline_ms": result["deadline_ms"],
        "misses": result["deadline_misses"],
        "real_time_factor": result["real_time_factor"],
        "passed": result["passed"],
        "failures": tuple(result["failures"]),
    }


def _check(result: dict[str, Any]) -> dict[str, Any]:
    histogram, quality = result["latency_histogram"], result["quality"] or {}
    return {
        "steps": result["steps"],
        **{f"{figure}_us": result[f"latency_us_{figure}"] for figure in ("p50", "p99", "max")},
        "edges_us": tuple(histogram["edges_us"]),
        "counts": tuple(histogram["counts"]),
        "series": _series(result["latency_timeline"], None),
        "accuracy": result["accuracy"],
        "accuracy_over_frames": tuple(quality.get("accuracy_over_frames") or ()),
        "memory_mib": result["peak_memory_mib"],
        "load": 0,
        "streams": 1,
    }


def _realtime(result: dict[str, Any]) -> dict[str, Any]:
    times = result["completion"]
    return {
        "steps": result["steps_run"],
        **{f"{figure}_us": times[f"{figure}_us"] for figure in ("p50", "p99", "max")},
        "edges_us": tuple(times["histogram"]["edges_us"]),
        "counts": tuple(times["histogram"]["counts"]),
        "series": _series(result["timeline"], result["period_ms"] / 1e3),
        "accuracy": None,
        "accuracy_over_frames": (),
        "memory_mib": result["end"]["rss_mib"],
        "load": result["load"],
        "streams": result["streams"],
    }


_RUNS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "check": _check,
    "realtime": _realtime,
}


def _series(timeline: dict[str, Any], period_s: float | None) -> Series:
    medians, longest = tuple(timeline["p50_us"]), tuple(timeline["max_us"])
    return Series(timeline["steps_per_slice"], period_s, medians, longest)


def _name(values: dict[str, Any], path: Path, before: list[Run]) -> str:
    """Model and device, and more where that is not enough to tell a run from those before."""
    name = f"{values['model'].removesuffix('.tflite')} · {values['device']}"
    taken = {run.name for run in before}
    candidates = [
        name,
        f"{name} · {values['command']}",
        f"{name} · {path.name}",
        f"{name} · {path}",
    ]
    free = [one for one in candidates if one not in taken]
    if not free:
        raise ValueError(f"{path} is given twice: name each file once")
    return free[0]
