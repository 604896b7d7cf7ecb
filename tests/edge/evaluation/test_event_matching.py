"""Matching of events, against SciPy and against all assignments."""

import sys
import types
from itertools import permutations

import numpy as np
import pytest
from kgated_edge import EdgeError, ReferenceEvent, match_events


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
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    sparse = pytest.importorskip("scipy.sparse")
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


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_sed_eval(seed, monkeypatch):
    """An independent scorer: hits, false accepts and misses by onset, of each class."""
    # sed_eval imports this module, which setuptools no longer has, and does not use it here.
    monkeypatch.setitem(sys.modules, "pkg_resources", types.ModuleType("pkg_resources"))
    sed_eval = pytest.importorskip("sed_eval")
    rng = np.random.default_rng(seed)
    reference, estimated = random_events(rng, 60, 60.0), random_events(rng, 80, 60.0)
    scorer = sed_eval.sound_event.EventBasedMetrics(
        ["a", "b"], t_collar=0.4, evaluate_offset=False, event_matching_type="optimal"
    )
    scorer.evaluate(as_rows(reference), as_rows(estimated))
    matching = match_events(reference, estimated, 0.4, "onset")
    hits = 0
    for label, counts in scorer.class_wise.items():
        own = [r for r, _ in matching.pairs if reference[r].label == label]
        false_accepts = [k for k in matching.false_accepts if estimated[k].label == label]
        assert (len(own), len(false_accepts)) == (counts["Ntp"], counts["Nfp"])
        hits += len(own)
    assert hits == scorer.overall["Ntp"] > 12
    assert len(matching.misses) == len(reference) - hits


def as_rows(events):
    """Events as sed_eval takes them."""
    keys = ("event_label", "event_onset", "event_offset")
    return [{**dict(zip(keys, event, strict=True)), "file": "x"} for event in events]
