"""Writes the reports of a monitor: a line of JSON per interval, and a Prometheus text file."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.telemetry.monitor import FieldReport

Counters = Mapping[str, int]
_HELP = {
    "outside_share": "share of frames outside of the training or calibrated range",
    "drift_psi": "population stability index against the training data",
    "confidence_mean": "mean of the largest score of a step",
    "confidence_min": "smallest of the largest scores of a step",
    "state_norm": "Euclidean norm of the states",
    "state_saturated_share": "share of the state values at the end of their range",
}


class MonitorFiles:
    """The files of a monitor: PATH with a line per interval, and PATH with the suffix `.prom`.

    Lines are appended, so a run that starts again continues the file. The Prometheus file is
    replaced whole, for the textfile collector of its node exporter.

    Args:
        path: of the JSON lines.

    Raises:
        EdgeError: the path ends in `.prom`, or the files cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._lines, self._prometheus = Path(path), Path(path).with_suffix(".prom")
        if self._lines == self._prometheus:
            raise EdgeError(f"{path}: the lines of JSON need another suffix: name it .jsonl")
        try:
            self._lines.open("a", encoding="utf-8").close()
            self._scratch.touch()
            self._scratch.unlink()
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from None

    def write(self, step: int, report: FieldReport, totals: Counters) -> None:
        """Writes one interval.

        Args:
            step: steps since the start.
            report: of the interval.
            totals: counts since the start, by name.

        Raises:
            EdgeError: a file cannot be written.
        """
        time = datetime.now(UTC).isoformat("T", "seconds")
        line = {"time": time, "step": step, **_short(asdict(report)), **totals}
        try:
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
            text = "".join(_prometheus_lines({"steps": step, **totals}, report))
            self._scratch.write_text(text, encoding="utf-8")
            self._scratch.replace(self._prometheus)
        except OSError as error:
            raise self._unwritable(error) from None

    @property
    def _scratch(self) -> Path:
        return self._prometheus.with_name(f".{self._prometheus.name}.{os.getpid()}.tmp")

    def _unwritable(self, error: Exception) -> EdgeError:
        reason = getattr(error, "strerror", None) or error
        return EdgeError(
            f"{self._lines}: cannot be written ({reason}): name a file in a folder that exists and "
            "can be written"
        )


def _prometheus_lines(totals: Counters, report: FieldReport) -> Iterator[str]:
    for name, count in totals.items():
        yield f"# TYPE kgated_{name}_total counter\nkgated_{name}_total {count}\n"
    for name, text in _HELP.items():
        value = getattr(report, name)
        if value is None:
            continue
        yield f"# HELP kgated_{name} {text}\n# TYPE kgated_{name} gauge\n"
        if isinstance(value, tuple):
            for n, item in enumerate(value):
                yield f'kgated_{name}{{feature="{n}"}} {_digits(item)!r}\n'
        else:
            yield f"kgated_{name} {_digits(value)!r}\n"


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_short(item) for item in value]
    return _digits(value) if isinstance(value, float) else value


def _digits(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
