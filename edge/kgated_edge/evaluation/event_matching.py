"""Matches detected events with reference events, one to one."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kgated_edge.errors import EdgeError

CONDITIONS = ("overlap", "onset")
COLLAR_S = 0.5


class Spanned(Protocol):
    """Protocol of an event with a label, a start and an end, as `Event` and `ReferenceEvent`."""

    @property
    def label(self) -> str:
        """Name of the class."""

    @property
    def start_s(self) -> float:
        """Seconds from the start of the recording."""

    @property
    def end_s(self) -> float:
        """Seconds, not before the start."""


class ReferenceEvent(NamedTuple):
    """A labelled event; times are seconds from the start of its recording."""

    label: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Matching:
    """Which events belong together.

    Attributes:
        pairs: (index of the reference event, index of the detected event), by reference.
        misses: indices of reference events without a detected one.
        false_accepts: indices of detected events without a reference event; also the second
            detection of one reference event.
    """

    pairs: tuple[tuple[int, int], ...]
    misses: tuple[int, ...]
    false_accepts: tuple[int, ...]


def match_events(
    reference: Sequence[Spanned],
    estimated: Sequence[Spanned],
    collar_s: float = COLLAR_S,
    condition: str = "overlap",
) -> Matching:
    """The largest one-to-one matching of events of one recording with the same label.

    Of several largest matchings, it prefers early detections for early reference events.

    Args:
        reference: the labelled events, in any order.
        estimated: the detected events, in any order.
        collar_s: tolerance in seconds.
        condition: "overlap": a detected event may belong to a reference event that it overlaps, or
            misses by at most `collar_s`; "onset": their starts differ by at most `collar_s`.

    Raises:
        EdgeError: a negative collar, or another condition.
    """
    if condition not in CONDITIONS:
        raise EdgeError(f"`condition` must be one of {list(CONDITIONS)}, got {condition!r}")
    if not 0 <= collar_s < float("inf"):
        raise EdgeError(f"`collar_s` must be a finite number from 0, got {collar_s!r}")
    partners: dict[int, int] = {}
    for label in sorted({event.label for event in reference}):
        candidates = _candidates(reference, estimated, label, collar_s, condition)
        partners |= _largest_matching(candidates)
    used = set(partners.values())
    return Matching(
        tuple(sorted(partners.items())),
        tuple(k for k in range(len(reference)) if k not in partners),
        tuple(k for k in range(len(estimated)) if k not in used),
    )


def _candidates(
    reference: Sequence[Spanned],
    estimated: Sequence[Spanned],
    label: str,
    collar_s: float,
    condition: str,
) -> dict[int, list[int]]:
    """The detected events that may belong to each reference event of a label, in order of time."""
    order = sorted(_with_label(estimated, label), key=lambda k: estimated[k].start_s)
    starts = [estimated[k].start_s for k in order]
    # Detected events last this long at most, so none that starts earlier can overlap.
    longest = max((estimated[k].end_s - estimated[k].start_s for k in order), default=0.0)
    candidates = {}
    for r in sorted(_with_label(reference, label), key=lambda k: reference[k].start_s):
        event = reference[r]
        last_s = event.start_s if condition == "onset" else event.end_s
        first_s = event.start_s - (0.0 if condition == "onset" else longest)
        near = order[
            bisect_left(starts, first_s - collar_s) : bisect_right(starts, last_s + collar_s)
        ]
        if condition == "overlap":
            near = [k for k in near if estimated[k].end_s >= event.start_s - collar_s]
        candidates[r] = near
    return candidates


def _with_label(events: Sequence[Spanned], label: str) -> list[int]:
    return [k for k, event in enumerate(events) if event.label == label]


def _largest_matching(candidates: dict[int, list[int]]) -> dict[int, int]:
    """Partners by reference event, by augmenting paths (Kuhn's algorithm)."""
    detected_of: dict[int, int] = {}
    reference_of: dict[int, int] = {}
    for r in candidates:
        _augment(r, candidates, detected_of, reference_of)
    return detected_of


def _augment(
    first: int,
    candidates: dict[int, list[int]],
    detected_of: dict[int, int],
    reference_of: dict[int, int],
) -> None:
    """Finds a partner for one more reference event, moving others where that is needed.

    Breadth first, so that as few as possible are moved, and without recursion.
    """
    queue, came_from = [first], dict[int, int]()
    for r in queue:
        for e in candidates[r]:
            if e in came_from:
                continue
            came_from[e] = r
            if e in reference_of:
                queue.append(reference_of[e])
                continue
            # Back along the path: each reference event moves to where it was reached from.
            free: int | None = e
            while free is not None:
                r, before = came_from[free], detected_of.get(came_from[free])
                reference_of[free], detected_of[r] = r, free
                free = before
            return
