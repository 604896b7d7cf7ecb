"""Tunes the event settings of a model file on labelled recordings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge import EdgeModel, EventDetector, EventMetrics, EventScorer, EventSettings
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.event_matching import COLLAR_S
from kgated_edge.events.scores import default_settings, score_labels, step_seconds
from kgated_edge.format.event_settings import ClassThreshold
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.reader import read_manifest
from kgated_edge.format.verified_file import ModelPath
from kgated_edge.recordings.labels import check_labels
from kgated_edge.recordings.reader import labelled_recordings
from kgated_edge.recordings.runner import stored_scores

from kgated.tuning.operating_points import StoredRecording, off_of, points_of, smoothed
from kgated.tuning.search import Choice, Curve, best_choices, best_curve

SMOOTHING_S = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
_MIN_CURVE, _MAX_CURVE = 50, 2000  # false accepts that the curve reaches


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        settings: the chosen ones.
        labels: of the model's scores.
        step_s: seconds per step.
        before: the raw decisions: the largest score of each step, without smoothing or threshold.
        after: the chosen settings, by `EventDetector`.
        curves: the trade-off of each kind of smoothing.
        max_false_accepts_per_hour: the limit of the search.
        recordings: how many there were.
    """

    settings: EventSettings
    labels: tuple[str, ...]
    step_s: float
    before: EventMetrics
    after: EventMetrics
    curves: tuple[Curve, ...]
    max_false_accepts_per_hour: float
    recordings: int


def tune(
    path: ModelPath,
    recordings: str | Path,
    labels: str | Path,
    *,
    max_false_accepts_per_hour: float = 1.0,
    keep_misses: bool = False,
    smoothing_s: Sequence[float] = SMOOTHING_S,
    smoothings: Sequence[str] = ("mean", "exponential"),
    score: str | None = None,
    collar_s: float = COLLAR_S,
    sample_period_s: float | None = None,
    options: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Tuned:
    """Searches the settings with the fewest misses at a limited rate of false accepts.

    The model runs once over the recordings, through the code of the device. Each kind of smoothing
    and each threshold of each class is then computed from the stored scores. Classes without a
    labelled event are the background.

    Args:
        path: a `.tflite` file made by `kgated convert`; it is not changed.
        recordings: a folder of recordings, or one.
        labels: their events, see `kgated_edge.recordings.labels.read_labels`.
        max_false_accepts_per_hour: over all classes.
        keep_misses: choose the fewest false accepts at which no more events are missed than by the
            raw decisions, where the limit of the rate permits it.
        smoothing_s: times to try, in seconds.
        smoothings: of "mean" and "exponential", those to try.
        score: as in `EventSettings`; by default that of the manifest.
        collar_s: tolerance of the matching in seconds.
        sample_period_s: by default that of the manifest.
        options: arguments of `kgated_edge.live_blocks`.
        settings: other fields of `EventSettings`, such as `refractory_s`.

    Returns:
        the settings with their metrics; `write_section` puts them into the file.

    Raises:
        EdgeError: recordings, labels or settings that do not fit the model; no labelled event.
    """
    _check_rate(max_false_accepts_per_hour)
    base = _base_settings(manifest := read_manifest(path), score, settings)
    names, step_s = score_labels(manifest, base.score), step_seconds(manifest, sample_period_s)
    stored = store(path, recordings, labels, base.score, names, step_s, options or {})
    classes = _labelled_classes(names, stored, labels)
    budget = _false_accept_budget(stored, step_s, max_false_accepts_per_hour)
    background = tuple(name for name in names if name not in classes)
    variants = _smoothing_variants(
        replace(base, background=background, classes={}), smoothing_s, smoothings
    )
    size = max(budget, _MIN_CURVE)
    curves = [_curve(stored, s, names, classes, step_s, collar_s, size) for s in variants]
    before = raw_decisions(stored, names, background, step_s, collar_s)
    best, choice = best_curve(curves, budget, before.misses if keep_misses else -1)
    chosen = chosen_settings(variants[best], classes, choice)
    return Tuned(
        chosen,
        names,
        step_s,
        before,
        evaluate(stored, names, chosen, step_s, collar_s),
        tuple(curves),
        max_false_accepts_per_hour,
        len(stored),
    )


def store(
    path: ModelPath,
    recordings: str | Path,
    labels: str | Path | None,
    score: str,
    names: Sequence[str],
    step_s: float,
    options: Mapping[str, Any],
) -> list[StoredRecording]:
    """Runs a model over all recordings and keeps its scores.

    Args:
        path: the model file.
        recordings: a folder or file of recordings, as for `tune`.
        labels: their events, as for `tune`; None: in files beside the recordings.
        score: what the scores are, as in `EventSettings.score`.
        names: the classes of the scores.
        step_s: seconds of one step of the model.
        options: for reading the recordings, as for `tune`.

    Returns:
        The scores (steps, C) and the labelled events of each recording.

    Raises:
        DataError: a label that is no class, or after the end of its recording.
    """
    listed, model, stored = labelled_recordings(recordings, labels), EdgeModel(path), []
    for recording in listed:
        scores = stored_scores(model, recording.path, score, options)
        check_labels(recording.events, recording.name, len(scores) * step_s, names)
        stored.append(StoredRecording(recording.name, scores, recording.events))
    return stored


def evaluate(
    stored: Sequence[StoredRecording],
    names: Sequence[str],
    settings: EventSettings,
    step_s: float,
    collar_s: float,
) -> EventMetrics:
    """The metrics of a detector with some settings, on stored scores.

    Args:
        stored: recordings with their scores, from `store`.
        names: the classes of the scores.
        settings: of the detector.
        step_s: seconds of one step.
        collar_s: tolerance of the times of events, in seconds.

    Returns:
        Misses, false accepts and delays over all recordings.
    """
    detector, scorer = EventDetector(names, step_s, settings), EventScorer(collar_s)
    for recording in stored:
        events = [event for row in recording.scores for event in detector.step(row)]
        events += detector.finish()
        reference = [e for e in recording.events if settings.threshold(e.label) is not None]
        scorer.add(reference, events, len(recording.scores) * step_s)
    return scorer.metrics()


def chosen_settings(
    variant: EventSettings, classes: Sequence[str], choice: Choice
) -> EventSettings:
    """The settings of one choice of thresholds."""
    levels = dict(zip(classes, choice[2], strict=True))
    thresholds = {name: ClassThreshold(on, off_of(on)) for name, on in levels.items()}
    return replace(variant, classes=thresholds)


def _check_rate(max_false_accepts_per_hour: float) -> None:
    if not 0 <= max_false_accepts_per_hour < math.inf:
        raise EdgeError(
            "`max_false_accepts_per_hour` must be a finite number from 0, got "
            f"{max_false_accepts_per_hour!r}"
        )


def _labelled_classes(
    names: Sequence[str], stored: Sequence[StoredRecording], labels: str | Path
) -> list[str]:
    labelled = {event.label for recording in stored for event in recording.events}
    classes = [name for name in names if name in labelled]
    if not classes:
        raise DataError(f"{labels}: there is no labelled event to tune on: label some")
    return classes


def _false_accept_budget(
    stored: Sequence[StoredRecording], step_s: float, max_false_accepts_per_hour: float
) -> int:
    """The false accepts that the limit allows in all recordings together."""
    hours = sum(len(recording.scores) for recording in stored) * step_s / 3600
    return min(_MAX_CURVE, math.floor(max_false_accepts_per_hour * hours))


def _smoothing_variants(
    base: EventSettings, smoothing_s: Sequence[float], smoothings: Sequence[str]
) -> list[EventSettings]:
    variants = [replace(base, smoothing=s, smoothing_s=x) for x in smoothing_s for s in smoothings]
    # Both are the same without smoothing.
    return [s for s in variants if s.smoothing_s > 0 or s.smoothing == smoothings[0]]


def _base_settings(
    manifest: Manifest, score: str | None, settings: Mapping[str, Any]
) -> EventSettings:
    base = EventSettings(score=score) if score else default_settings(manifest)
    return replace(base, **settings)


def _curve(
    stored: Sequence[StoredRecording],
    variant: EventSettings,
    names: Sequence[str],
    classes: Sequence[str],
    step_s: float,
    collar_s: float,
    max_false_accepts: int,
) -> Curve:
    values = [smoothed(recording.scores, variant, step_s) for recording in stored]
    points = []
    for label in classes:
        columns = [array[:, names.index(label)] for array in values]
        points.append(
            points_of(stored, columns, label, variant, step_s, collar_s, max_false_accepts)
        )
    return Curve(variant.smoothing, variant.smoothing_s, best_choices(points, max_false_accepts))


def raw_decisions(
    stored: Sequence[StoredRecording],
    names: Sequence[str],
    background: Sequence[str],
    step_s: float,
    collar_s: float,
) -> EventMetrics:
    """The metrics without smoothing and thresholds, to compare with.

    Args:
        stored: recordings with their scores, from `store`.
        names: the classes of the scores.
        background: classes that are no event.
        step_s: seconds of one step.
        collar_s: tolerance of the times of events, in seconds.

    Returns:
        The metrics of the events that start at each change of the class with the largest score; for
        a single score, where it is above 0.5.
    """
    settings = EventSettings(
        smoothing_s=0.0,
        refractory_s=0.0,
        background=tuple(background),
        default=ClassThreshold(0.5, 0.5),
    )
    if len(names) == 1:
        return evaluate(stored, names, settings, step_s, collar_s)
    decided = [
        replace(r, scores=np.eye(len(names), dtype=np.float32)[r.scores.argmax(axis=1)])
        for r in stored
    ]
    return evaluate(decided, names, settings, step_s, collar_s)
