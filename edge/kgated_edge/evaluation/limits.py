"""Limits on the metrics of a run, given one by one or as a file that gates a release."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

from kgated_edge.errors import EdgeError

METRICS = {
    "accuracy": True,
    "r2": True,
    "mae": False,
    "rmse": False,
    "mae_of_range": False,
    "rmse_of_range": False,
    "f1_micro": True,
    "f1_macro": True,
    "subset_accuracy": True,
    "bits_per_character": False,
}
"""Metrics of a model's quality, and whether higher is better."""
_FRACTIONS = ("accuracy", "f1_micro", "f1_macro", "subset_accuracy")
_TABLE = "worse_than_float"
_UPPER = {
    "max_mae": ("mae", "mean absolute error"),
    "max_rmse": ("rmse", "root mean squared error"),
    "max_mae_of_range": ("mae_of_range", "mean absolute error as a fraction of the range"),
    "max_rmse_of_range": ("rmse_of_range", "root mean squared error as a fraction of the range"),
    "max_bits_per_character": ("bits_per_character", "bits per character"),
    "max_settled_frames_p90": ("settled_frames_p90", "frames until 90% have settled"),
    "max_latency_us_p99": ("latency_us_p99", "step p99 in us"),
    "max_model_bytes": ("model_bytes", "size of the file in bytes"),
    "max_false_accepts_per_hour": ("false_accepts_per_hour", "false accepts per hour"),
    "max_miss_rate": ("miss_rate", "fraction of events missed"),
    "max_delay_ms": ("delay_ms_p95", "delay of 95% of the detections in ms"),
}
_LOWER = {
    "min_accuracy": ("accuracy", "accuracy"),
    "min_r2": ("r2", "R²"),
    "min_f1_micro": ("f1_micro", "F1 over all labels"),
    "min_f1_macro": ("f1_macro", "mean F1 of the labels"),
    "min_subset_accuracy": ("subset_accuracy", "fraction with every label correct"),
}


@dataclass(frozen=True)
class Limits:
    """Limits of a run; None for no limit.

    Attributes:
        deadline_ms: longest time of a step.
        max_misses: how many steps may exceed it; None for none.
        min_accuracy: minimum fraction of correct decisions, 0..1.
        min_r2, max_mae, max_rmse, max_mae_of_range, max_rmse_of_range: see `Quality`.
        min_f1_micro, min_f1_macro, min_subset_accuracy: see `Quality`.
        max_bits_per_character, max_settled_frames_p90: see `Quality`.
        max_latency_us_p99: limit on the 99th percentile of the step times.
        max_model_bytes: size of the file.
        max_false_accepts_per_hour, max_miss_rate: see `EventMetrics`, for a check of events.
        max_delay_ms: limit on the delay of 95% of the detections, for a check of events.
        worse_than_float: by metric, how much worse it may be than the float model's, which the
            manifest holds.

    Raises:
        EdgeError: a value out of range, an unknown metric.
    """

    deadline_ms: float | None = None
    max_misses: int | None = None
    min_accuracy: float | None = None
    min_r2: float | None = None
    max_mae: float | None = None
    max_rmse: float | None = None
    max_mae_of_range: float | None = None
    max_rmse_of_range: float | None = None
    min_f1_micro: float | None = None
    min_f1_macro: float | None = None
    min_subset_accuracy: float | None = None
    max_bits_per_character: float | None = None
    max_settled_frames_p90: float | None = None
    max_latency_us_p99: float | None = None
    max_model_bytes: float | None = None
    max_false_accepts_per_hour: float | None = None
    max_miss_rate: float | None = None
    max_delay_ms: float | None = None
    worse_than_float: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name, value in self._numbers().items():
            if type(value) not in (int, float):
                raise EdgeError(f"`{name}` must be a number, got {value!r}")
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise EdgeError(f"`deadline_ms` must be above 0, got {self.deadline_ms}")
        for name, value in self._numbers().items():
            if name != "min_accuracy" and not math.isfinite(value):
                raise EdgeError(f"`{name}` must be finite, got {value}")
        misses = self.max_misses
        if misses is not None and (type(misses) is not int or misses < 0):
            raise EdgeError(f"`max_misses` must be a whole number from 0, got {misses}")
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise EdgeError(f"`min_accuracy` must be in 0..1, got {self.min_accuracy}")
        for name in ("max_false_accepts_per_hour", "max_miss_rate", "max_delay_ms"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise EdgeError(f"`{name}` must not be below 0, got {value}")
        for name in self.worse_than_float or ():
            if name not in METRICS:
                raise EdgeError(f"`{_TABLE}` must name some of {list(METRICS)}, got {name!r}")

    def _numbers(self) -> dict[str, Any]:
        limits = {f.name: getattr(self, f.name) for f in fields(self) if f.name != _TABLE}
        limits |= {f"{_TABLE}.{name}": x for name, x in (self.worse_than_float or {}).items()}
        return {name: value for name, value in limits.items() if value is not None}

    def limited_metrics(self) -> set[str]:
        """The metrics of quality that have a limit."""
        limits = {**_UPPER, **_LOWER}.items()
        named = {metric for name, (metric, _) in limits if getattr(self, name) is not None}
        return (named | set(self.worse_than_float or ())) - {"latency_us_p99", "model_bytes"}

    def failures(
        self, metrics: Mapping[str, float | None], float_metrics: Mapping[str, float]
    ) -> tuple[str, ...]:
        """A sentence per limit that a run missed.

        Args:
            metrics: the measured values by name.
            float_metrics: those of the float model.
        """
        missed = []
        for name, (metric, text) in _LOWER.items():
            limit, value = getattr(self, name), metrics.get(metric)
            if limit is not None and not (value is not None and value >= limit):
                missed.append(f"{text} is {_text(value)}, at least {limit:g} is required")
        for name, (metric, text) in _UPPER.items():
            limit, value = getattr(self, name), metrics.get(metric)
            if limit is not None and not (value is not None and value <= limit):
                missed.append(f"{text}: {_text(value)}, at most {limit:g} allowed")
        for metric, allowed in (self.worse_than_float or {}).items():
            value, sign = metrics.get(metric), 1 if METRICS[metric] else -1
            loss = math.nan if value is None else sign * (float_metrics[metric] - value)
            if not loss <= allowed:
                missed.append(
                    f"{metric} is {_text(value)}, worse than the float model's "
                    f"{float_metrics[metric]:.4f} by {loss:.4f}, allowed are {allowed:g}"
                )
        return tuple(missed)

    def missed_deadlines(self, misses: int | None, steps: int) -> tuple[str, ...]:
        """A sentence where too many steps exceeded their deadline."""
        allowed = self.max_misses or 0
        if misses is None or misses <= allowed:
            return ()
        return (
            f"{misses} of {steps} steps took longer than {self.deadline_ms:g} ms, "
            f"allowed are {allowed}",
        )


def read_limits(path: str | Path) -> Limits:
    """Reads limits from a TOML file.

    Args:
        path: a file with the attributes of `Limits` as names; `worse_than_float` is a table.

    Raises:
        EdgeError: no such file, invalid TOML, an unknown name or an invalid value.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise EdgeError(f"{path}: this is not a file: name a file of limits")
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise EdgeError(f"{path}: limits cannot be read from it ({reason}): check it") from None
    known = [field.name for field in fields(Limits)]
    for name, value in document.items():
        if name not in known:
            raise EdgeError(f"{path}: `{name}` is not a limit: name some of {known}")
        if (name == _TABLE) != isinstance(value, dict):
            raise EdgeError(
                f"{path}: `{_TABLE}` must be a table, and no other entry may be one: see `{name}`"
            )
    try:
        return Limits(**document)
    except EdgeError as error:
        raise EdgeError(f"{path}: {error}") from None


def check_figure(name: str, value: float) -> None:
    """Checks a metric of a float model that is to be kept beside its file.

    Raises:
        EdgeError: an unknown metric, no finite number, or one that the metric cannot be.
    """
    if name not in METRICS:
        raise EdgeError(f"must name some of {list(METRICS)}. Received: {name}")
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise EdgeError(f"must be a finite number. Received: {name}={value!r}")
    if name in _FRACTIONS and not 0.0 <= value <= 1.0:
        hint = f": write {name}={value / 100:.6g}" if 1.0 < value <= 100.0 else ""
        text = name.replace("_", " ")
        raise EdgeError(f"takes the {text} as a share between 0 and 1{hint}. Received: {value:g}")
    if name == "r2" and value > 1.0:
        raise EdgeError(f"takes an R² of at most 1. Received: {value:g}")
    if not METRICS[name] and value < 0.0:
        raise EdgeError(f"takes errors of at least 0. Received: {name}={value:g}")


def override_limits(limits: Limits, **overrides: Any) -> Limits:
    """The limits, with those overrides that are not None."""
    return replace(limits, **{name: x for name, x in overrides.items() if x is not None})


def _text(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
