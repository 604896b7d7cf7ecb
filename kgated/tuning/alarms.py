"""Chooses the threshold of an anomaly detector by the rate of false alarms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.events.scores import ANOMALY, score_labels, step_seconds
from kgated_edge.format.event_settings import ClassThreshold, EventSettings
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath

from kgated.tuning.operating_points import Values, detections, off_of, smoothed
from kgated.tuning.run import store

_TAIL_ALARMS = 30  # from which the tail is estimated
_MIN_ALARMS = 5
_HALVINGS = 60
_DAY_S = 86400.0


@dataclass(frozen=True)
class Alarms:
    """The result of `tune_alarms`.

    Attributes:
        settings: with the threshold.
        hours: length of the recordings.
        alarms: false alarms in them with these settings.
        false_alarms_per_day: the number asked for.
        extrapolated: whether the recordings are too short to count so few alarms, so that the
            threshold follows from the tail of the errors.
    """

    settings: EventSettings
    hours: float
    alarms: int
    false_alarms_per_day: float
    extrapolated: bool


def tune_alarms(
    path: ModelPath,
    recordings: str | Path,
    false_alarms_per_day: float,
    *,
    score: str = "prediction",
    sample_period_s: float | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Alarms:
    """Choose the threshold with a given number of false alarms per day on normal recordings.

    Where the recordings are long enough for 5 alarms or more, the alarms are counted. Else the
    errors above a lower threshold are assumed to fall off exponentially, and the threshold follows
    from this tail.

    Args:
        path: a `.tflite` file whose output repeats or predicts its frame; it is not changed.
        recordings: a folder of recordings without anomalies, or one.
        false_alarms_per_day: how many to allow.
        score: "prediction" or "reconstruction".
        sample_period_s: by default that of the manifest.
        options: arguments of `kgated_edge.live_blocks`.
        settings: other fields of `EventSettings`, such as `smoothing_s`.

    Raises:
        EdgeError: a rate that is not above 0, recordings or settings that do not fit the model.
    """
    if not 0 < false_alarms_per_day < math.inf:
        raise EdgeError(
            f"`false_alarms_per_day` must be above 0 and finite, got {false_alarms_per_day!r}"
        )
    if score == "output":
        raise EdgeError(
            "`score` must be 'prediction' or 'reconstruction' for alarms, got 'output': tune the "
            "classes of a classifier with labels"
        )
    manifest = read_manifest(path)
    names, step_s = score_labels(manifest, score), step_seconds(manifest, sample_period_s)
    base = EventSettings(score=score, **settings)
    stored = store(path, recordings, None, score, names, step_s, options or {})
    values = [smoothed(recording.scores, base, step_s)[:, 0] for recording in stored]
    seconds = sum(map(len, values)) * step_s
    allowed = false_alarms_per_day * seconds / _DAY_S
    is_counted = allowed >= _MIN_ALARMS
    on = _counted(values, base, step_s, allowed) if is_counted else None
    if on is None:
        on = _extrapolated(values, base, step_s, allowed)
    level = float(f"{on:.6g}")
    chosen = replace(base, classes={ANOMALY: ClassThreshold(level, off_of(level))})
    alarms = count_alarms(values, level, base, step_s)
    return Alarms(chosen, seconds / 3600, alarms, false_alarms_per_day, not is_counted)


def count_alarms(
    values: Sequence[Values], on: float, settings: EventSettings, step_s: float
) -> int:
    """Alarms in all recordings at a threshold."""
    return sum(
        sum(1 for _ in detections(column, on, settings, step_s, ANOMALY)) for column in values
    )


def _counted(
    values: Sequence[Values], settings: EventSettings, step_s: float, allowed: float
) -> float:
    """The lowest threshold with at most `allowed` alarms, from above."""
    low = float(np.median(np.concatenate(values)))
    high = max(float(column.max()) for column in values) * 1.001 + 1e-9
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if count_alarms(values, middle, settings, step_s) <= allowed:
            high = middle
        else:
            low = middle
    return high


def _extrapolated(
    values: Sequence[Values], settings: EventSettings, step_s: float, allowed: float
) -> float:
    """Where an exponential tail of the alarms' peaks leaves `allowed` of them."""
    base = _counted(values, settings, step_s, _TAIL_ALARMS)
    peaks = [
        float(column[round(a.start_s / step_s) : round(a.end_s / step_s)].max())
        for column in values
        for a in detections(column, base, settings, step_s, ANOMALY)
    ]
    if len(peaks) < _MIN_ALARMS:
        raise DataError(
            f"the recordings have {len(peaks)} peaks of the error, {_MIN_ALARMS} are needed for an "
            "estimate: give longer recordings"
        )
    return base + (float(np.mean(peaks)) - base) * math.log(len(peaks) / allowed)
