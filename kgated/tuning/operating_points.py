"""Events of one class at many thresholds, from stored scores, equal to those of the device."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from kgated_edge.evaluation.event_matching import ReferenceEvent, match_events
from kgated_edge.events.smoothing import ROUNDER, weight_of
from kgated_edge.format.event_settings import EventSettings, steps_of

Values = npt.NDArray[np.float64]
HYSTERESIS = 0.8
_THRESHOLDS = 60
_LOWEST_QUANTILE = 0.8  # an event is rare: a threshold below this would be on all the time


class Span(NamedTuple):
    """A detected event; times in seconds from the start of its recording."""

    label: str
    start_s: float
    end_s: float
    detected_s: float


@dataclass(frozen=True)
class StoredRecording:
    """A recording as the device's scores.

    Attributes:
        name: of the recording.
        scores: (steps, C) float32.
        events: its labelled events.
    """

    name: str
    scores: npt.NDArray[np.float32]
    events: Sequence[ReferenceEvent]


@dataclass(frozen=True)
class Point:
    """The counts of one threshold of a class over all recordings.

    Attributes:
        on: the threshold.
        false_accepts, misses: counts.
        delay_s: sum of the delays of all hits.
    """

    on: float
    false_accepts: int
    misses: int
    delay_s: float


def smoothed(scores: npt.NDArray[np.float32], settings: EventSettings, step_s: float) -> Values:
    """The averages (steps, C) of scores (steps, C), with the bits of `kgated_edge`'s smoothers."""
    rounded = (scores.astype(np.float64) + ROUNDER) - ROUNDER
    if settings.smoothing == "exponential" and settings.smoothing_s > 0:
        weight = weight_of(settings.smoothing_s, step_s)
        return np.stack([_exponential(column, weight) for column in rounded.T], axis=1)
    steps = max(1, steps_of(settings.smoothing_s, step_s))
    sums = np.cumsum(rounded, axis=0)
    sums[steps:] -= sums[:-steps].copy()
    return np.asarray(sums / steps)


def _exponential(column: Values, weight: float) -> Values:
    rest = 1.0 - weight
    values = accumulate(column.tolist(), lambda s, x: s * rest + x * weight, initial=0.0)
    return np.fromiter(values, np.float64, len(column) + 1)[1:]


def thresholds_of(values: Sequence[Values]) -> Values:
    """Candidates for `on`, falling, from the values of a class in all recordings."""
    scores = np.concatenate(values)
    tail = np.geomspace(1 - _LOWEST_QUANTILE, 1 / max(len(scores), 10), _THRESHOLDS)
    low, high = np.quantile(scores, _LOWEST_QUANTILE), scores.max()
    levels = [*np.quantile(scores, 1 - tail), *np.linspace(low, high, _THRESHOLDS)]
    short = {float(f"{level:.5g}") for level in levels}
    return np.array(sorted(short, reverse=True))


def off_of(on: float) -> float:
    """The level at which an event ends, for one at which it starts."""
    return float(f"{on * HYSTERESIS:.5g}") if on > 0 else on


def runs(values: Values, on: float, off: float) -> list[tuple[int, int]]:
    """The intervals in which a class is active: [start, end) in steps."""
    marks = np.zeros(len(values), np.int8)
    marks[values >= on] = 1
    marks[values < off] = -1
    marked = np.flatnonzero(marks)
    if not len(marked):
        return []
    kinds = marks[marked]
    changes = np.concatenate([[0], np.flatnonzero(np.diff(kinds)) + 1])
    edges = [*marked[changes].tolist(), len(values)]
    active = (kinds[changes] == 1).tolist()
    return [pair for pair, is_on in zip(pairwise(edges), active, strict=True) if is_on]


def detections(
    values: Values, on: float, settings: EventSettings, step_s: float, label: str
) -> Iterator[Span]:
    """The events of one class alone; those of `EventDetector` where no other class is active."""
    minimum = max(1, steps_of(settings.min_duration_s, step_s))
    pause, free = steps_of(settings.refractory_s, step_s), 0
    for start, end in runs(values, on, off_of(on)):
        if start < free:
            later = np.flatnonzero(values[free:end] >= on)
            if not len(later):
                continue
            start = free + int(later[0])
        if end - start >= minimum:
            free = end + pause
            detected = (start + minimum) * step_s
            yield Span(label, start * step_s, end * step_s, detected)


def points_of(
    recordings: Sequence[StoredRecording],
    values: Sequence[Values],
    label: str,
    settings: EventSettings,
    step_s: float,
    collar_s: float,
    max_false_accepts: int,
) -> list[Point]:
    """The point of each candidate threshold of a class, from the highest one down.

    Args:
        recordings: with their labelled events.
        values: smoothed scores (steps,) of the class in each recording.
        label: of the class.
        settings: duration and refractory time are used.
        step_s: seconds per step.
        collar_s: as in `match_events`.
        max_false_accepts: where a threshold has more, lower ones are left out.
    """
    levels = thresholds_of(values).tolist()
    unreached = 1.05 * abs(levels[0]) + 1e-3
    points = [Point(unreached, 0, sum(_count(r.events, label) for r in recordings), 0.0)]
    for on in levels:
        false_accepts, misses, delay_s = 0, 0, 0.0
        for recording, column in zip(recordings, values, strict=True):
            reference = [event for event in recording.events if event.label == label]
            events = list(detections(column, on, settings, step_s, label))
            matching = match_events(reference, events, collar_s)
            false_accepts += len(matching.false_accepts)
            misses += len(matching.misses)
            delay_s += sum(events[e].detected_s - reference[r].start_s for r, e in matching.pairs)
        points.append(Point(on, false_accepts, misses, delay_s))
        if false_accepts > max_false_accepts:
            break
    return points[1:] if points[1].false_accepts == 0 else points


def _count(events: Sequence[ReferenceEvent], label: str) -> int:
    return sum(event.label == label for event in events)
