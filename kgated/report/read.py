"""Reading of the results of `kgated-edge check --json` and `realtime --json`."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Series:
    """Step times over a run, in slices of equally many steps, in microseconds.

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
        name: unique among the results of the page.
        model, device, command: model, device and "check" or "realtime".
        about: the device in words.
        model_bytes: size of the model file.
        steps: steps run.
        p50_us, p99_us, max_us: time of a step; in a real-time run counted from the frame's arrival.
        edges_us, counts: the same times in logarithmic bins.
        series: the same times in order.
        deadline_ms: the limit on one step, or None.
        misses: steps that took longer, or None without a deadline.
        accuracy: fraction of correct decisions, or None.
        accuracy_over_frames: the same after each step, empty if unknown.
        real_time_factor: step time / period, or None.
        memory_mib: peak memory of the process, of a real-time run at its end, or None.
        load: number of background load processes.
        streams: models or sessions that each process a frame in a step.
        passed, failures: whether all limits are met; a sentence for each limit that is not.
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
    """Read result files.

    Args:
        paths: files of `kgated-edge check --json` and `realtime --json`.

    Returns:
        A run per file, in the order of the paths.

    Raises:
        ValueError: a file is not a result of `check` or `realtime`, or lacks a field.
        OSError: a file cannot be read.
    """
    runs: list[Run] = []
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
        runs.append(Run(name=_name(values, path, runs), **values))
    return runs


def _load(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path}: not JSON ({error}): give what `--json` or `live --monitor` wrote"
        ) from None
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
    """Model and device, and more where an earlier run has the same name."""
    name = f"{values['model'].removesuffix('.tflite')} · {values['device']}"
    taken = {run.name for run in before}
    candidates = [
        name,
        f"{name} · {values['command']}",
        f"{name} · {path.name}",
        f"{name} · {path}",
    ]
    free = [candidate for candidate in candidates if candidate not in taken]
    if not free:
        raise ValueError(f"{path} is given twice: name each file once")
    return free[0]
