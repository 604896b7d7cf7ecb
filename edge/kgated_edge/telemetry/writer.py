"""Writes the reports of a monitor: a line of JSON per interval, and a Prometheus text file."""

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
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
        inputs: files of the run, which must not be written.

    Raises:
        EdgeError: the path ends in `.prom`, is an input, or the files cannot be written.
    """

    def __init__(self, path: str | Path, inputs: Sequence[str] = ()) -> None:
        self._lines, self._prometheus = Path(path), Path(path).with_suffix(".prom")
        if self._lines == self._prometheus:
            raise EdgeError(f"{path}: the lines of JSON need another suffix: name it .jsonl")
        self._check_inputs(inputs)
        try:
            self._append(b"")
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
            text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
            self._append(text.encode())
            text = "".join(_prometheus_lines({"steps": step, **totals}, report))
            self._scratch.write_text(text, encoding="utf-8")
            self._scratch.replace(self._prometheus)
        except OSError as error:
            raise self._unwritable(error) from None

    def _append(self, content: bytes) -> None:
        """Appends a line whole or not at all, after the end of one that was cut short."""
        if self._lines.exists() and not self._lines.is_file():
            with self._lines.open("ab", buffering=0) as pipe:
                pipe.write(content)
            return
        with self._lines.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if content and size and file.seek(size - 1) and file.read(1) != b"\n":
                content = b"\n" + content
            if file.write(content) < len(content):  # the disk is full
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _check_inputs(self, inputs: Sequence[str]) -> None:
        targets = {self._lines.resolve(), self._prometheus.resolve()}
        for name in inputs:
            if Path(name).exists() and Path(name).resolve() in targets:
                raise EdgeError(
                    f"{name}: this is a file of the run: name another file for --monitor"
                )

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
