"""Matching of events, against SciPy and against all assignments."""

from itertools import permutations

import numpy as np
import pytest
from extra_packages import required
from kgated_edge import EdgeError, Event, EventScorer, ReferenceEvent, match_events


def random_events(rng, count, seconds=20.0):
    starts = rng.uniform(0, seconds, count)
    labels = rng.choice(["a", "b"], count)
    ends = starts + rng.uniform(0.1, 2.0, count)
    return [
        ReferenceEvent(str(label), float(start), float(end))
        for label, start, end in zip(labels, starts, ends, strict=True)
    ]


def fits(first, second, collar, condition):
    if first.label != second.label:
        return False
    if condition == "onset":
        return abs(first.start_s - second.start_s) <= collar
    return first.start_s <= second.end_s + collar and second.start_s <= first.end_s + collar


def largest(reference, estimated, collar, condition):
    """The size of the largest matching, by trying all."""
    places = [*range(len(estimated)), *[None] * len(reference)]
    return max(
        sum(
            e is not None and fits(r, estimated[e], collar, condition)
            for r, e in zip(reference, chosen, strict=True)
        )
        for chosen in set(permutations(places, len(reference)))
    )


@pytest.mark.parametrize("condition", ["overlap", "onset"])
@pytest.mark.parametrize("seed", range(8))
def test_the_matching_is_the_largest(seed, condition):
    rng = np.random.default_rng(seed)
    reference, estimated = random_events(rng, 4, 6.0), random_events(rng, 4, 6.0)
    matching = match_events(reference, estimated, 0.7, condition)
    assert len(matching.pairs) == largest(reference, estimated, 0.7, condition)
    assert all(fits(reference[r], estimated[e], 0.7, condition) for r, e in matching.pairs)
    hits, used = zip(*matching.pairs, strict=True) if matching.pairs else ((), ())
    assert sorted([*hits, *matching.misses]) == list(range(4))
    assert sorted([*used, *matching.false_accepts]) == list(range(4))


@pytest.mark.parametrize("condition", ["overlap", "onset"])
def test_the_matching_of_many_events_is_as_large_as_scipys(rng, condition):
    csgraph = required("scipy.sparse.csgraph")
    sparse = required("scipy.sparse")
    reference, estimated = random_events(rng, 150, 60.0), random_events(rng, 200, 60.0)
    graph = [[fits(r, e, 0.3, condition) for e in estimated] for r in reference]
    expected = csgraph.maximum_bipartite_matching(sparse.csr_array(np.array(graph)))
    matching = match_events(reference, estimated, 0.3, condition)
    assert len(matching.pairs) == (expected >= 0).sum() > 80


def test_a_second_detection_of_one_event_is_a_false_accept():
    reference = [ReferenceEvent("a", 1.0, 3.0)]
    estimated = [ReferenceEvent("a", 1.1, 1.5), ReferenceEvent("a", 2.0, 2.5)]
    matching = match_events(reference, estimated)
    assert (matching.pairs, matching.false_accepts) == (((0, 0),), (1,))


def test_an_augmenting_path_of_any_length():
    """Each detection suits two reference events; only one order leaves none over."""
    count = 3000
    reference = [ReferenceEvent("a", k, k + 0.1) for k in range(count)]
    estimated = [ReferenceEvent("a", k - 0.5, k - 0.4) for k in range(1, count + 1)]
    assert len(match_events(reference, estimated, 0.45).pairs) == count


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1.0,), "`collar_s` must be"), ((0.1, "offset"), "`condition` must be one of")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(EdgeError, match=message):
        match_events([], [], *arguments)


def starts_apart(first, second):
    """Seconds (n, m) between the starts of events (n, 2) and (m, 2)."""
    return np.abs(np.subtract.outer(first[:, 0], second[:, 0]))


def gaps(first, second):
    """Seconds (n, m) between the spans of events, below 0 where they overlap."""
    later = np.subtract.outer(first[:, 0], second[:, 1])
    return np.maximum(later, -np.subtract.outer(first[:, 1], second[:, 0]))


@pytest.mark.parametrize(("condition", "apart"), [("onset", starts_apart), ("overlap", gaps)])
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_mir_eval(seed, condition, apart):
    """An independent scorer: hits, misses and false accepts of each class."""
    mir_eval, collar = required("mir_eval.util"), 0.4
    rng = np.random.default_rng(seed)
    reference, estimated = random_events(rng, 60, 60.0), random_events(rng, 80, 60.0)
    scorer = EventScorer(collar, condition)
    scorer.add(
        reference, [Event(*event, event.end_s, 0.9, event.end_s) for event in estimated], 60.0
    )
    counts = scorer.metrics().by_class
    for label in "ab":
        spans = [
            np.array([event[1:] for event in events if event.label == label])
            for events in (reference, estimated)
        ]
        hits = len(mir_eval.match_events(*spans, collar, apart))
        assert hits > 6
        assert vars(counts[label]) == {
            "reference": len(spans[0]),
            "hits": hits,
            "misses": len(spans[0]) - hits,
            "false_accepts": len(spans[1]) - hits,
        }
