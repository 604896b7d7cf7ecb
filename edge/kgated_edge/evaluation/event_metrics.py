"""Metrics of a detector: misses, false accepts per hour, delay."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from kgated_edge.evaluation.confidence import (
    CONFIDENCE,
    Interval,
    poisson_interval,
    wilson_interval,
)
from kgated_edge.evaluation.event_matching import COLLAR_S, Spanned, match_events


class Detected(Spanned, Protocol):
    """A detected event, which also has the time of its detection; `Event` is such."""

    @property
    def detected_s(self) -> float:
        """Seconds from the start of the recording."""


@dataclass(frozen=True)
class ClassEvents:
    """Counts of one class: labelled events, hits, misses, false accepts."""

    reference: int
    hits: int
    misses: int
    false_accepts: int


@dataclass(frozen=True)
class EventMetrics:
    """The quality of a detector on labelled recordings.

    Attributes:
        hours: length of the recordings.
        reference: labelled events.
        detected: detected events.
        hits: labelled events that were detected.
        misses: labelled events that were not.
        false_accepts: detected events that belong to no labelled one.
        miss_rate: misses / reference, or None without labelled events.
        miss_rate_interval: Wilson's interval of it, at `confidence`.
        false_accepts_per_hour: false_accepts / hours.
        false_accepts_per_hour_interval: the exact Poisson interval of it.
        delay_ms_p50, delay_ms_p95: from the start of a labelled event to its detection; None
            without hits.
        confidence: of the intervals.
        by_class: the counts by label.
    """

    hours: float
    reference: int
    detected: int
    hits: int
    misses: int
    false_accepts: int
    miss_rate: float | None
    miss_rate_interval: Interval
    false_accepts_per_hour: float
    false_accepts_per_hour_interval: Interval
    delay_ms_p50: float | None
    delay_ms_p95: float | None
    confidence: float
    by_class: Mapping[str, ClassEvents]


class EventScorer:
    """Collects the events of recordings, one after the other.

    Args:
        collar_s, condition: as in `match_events`.
    """

    def __init__(self, collar_s: float = COLLAR_S, condition: str = "overlap") -> None:
        self._collar_s, self._condition = collar_s, condition
        self._seconds = 0.0
        self._counts: dict[str, list[int]] = {}  # reference, hits, misses, false accepts
        self._delays: list[float] = []

    def add(
        self, reference: Sequence[Spanned], detected: Sequence[Detected], seconds: float
    ) -> None:
        """Adds a recording.

        Args:
            reference: its labelled events.
            detected: its detected events.
            seconds: its length.

        Raises:
            EdgeError: as from `match_events`.
        """
        matching = match_events(reference, detected, self._collar_s, self._condition)
        self._seconds += seconds
        for r, e in matching.pairs:
            self._count(reference[r].label, 0, 1)
            self._delays.append(detected[e].detected_s - reference[r].start_s)
        for r in matching.misses:
            self._count(reference[r].label, 0, 2)
        for e in matching.false_accepts:
            self._count(detected[e].label, 3)

    def metrics(self) -> EventMetrics:
        """The metrics over all recordings so far."""
        columns = zip(*self._counts.values(), strict=True) if self._counts else [()] * 4
        reference, hits, misses, false_accepts = map(sum, columns)
        hours, delays = self._seconds / 3600, sorted(self._delays)
        rate, counts = poisson_interval(false_accepts), self._counts
        return EventMetrics(
            hours=hours,
            reference=reference,
            detected=hits + false_accepts,
            hits=hits,
            misses=misses,
            false_accepts=false_accepts,
            miss_rate=misses / reference if reference else None,
            miss_rate_interval=wilson_interval(misses, reference),
            false_accepts_per_hour=false_accepts / hours if hours else 0.0,
            false_accepts_per_hour_interval=Interval(
                rate.low / hours if hours else 0.0, rate.high / hours if hours else math.inf
            ),
            delay_ms_p50=_quantile_ms(delays, 0.5),
            delay_ms_p95=_quantile_ms(delays, 0.95),
            confidence=CONFIDENCE,
            by_class={label: ClassEvents(*counts[label]) for label in sorted(counts)},
        )

    def _count(self, label: str, *places: int) -> None:
        counts = self._counts.setdefault(label, [0, 0, 0, 0])
        for place in places:
            counts[place] += 1


def _quantile_ms(values: list[float], fraction: float) -> float | None:
    """The smallest value that at least this fraction does not exceed, in ms."""
    if not values:
        return None
    return 1e3 * values[max(0, math.ceil(fraction * len(values)) - 1)]
