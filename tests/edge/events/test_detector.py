"""Events in scores: against an independent implementation, and the rules one by one."""

import tracemalloc

import numpy as np
import pytest
from kgated_edge import ClassThreshold, EdgeError, Event, EventDetector, EventSettings, FrameError
from kgated_edge.events.smoothing import weight_of

STEP_S = 0.5  # exact in binary


def detect(scores, labels=None, **settings):
    scores = np.atleast_2d(np.asarray(scores, np.float32).T).T
    labels = labels or [chr(ord("a") + k) for k in range(scores.shape[1])]
    detector = EventDetector(labels, STEP_S, EventSettings(**{"smoothing_s": 0, **settings}))
    events = [event for row in scores for event in detector.step(row)]
    return events + list(detector.finish())


def spans(events):
    return [(e.label, e.start_s / STEP_S, e.end_s / STEP_S) for e in events]


def smoothed(scores, settings):
    """(T, C) averages, from their definitions."""
    scores = np.rint(scores.astype(np.float64) * 2**24) / 2**24
    if settings.smoothing == "mean":
        n = max(1, int(np.ceil(settings.smoothing_s / STEP_S)))
        padded = np.concatenate([np.zeros((n - 1, scores.shape[1])), scores])
        return np.array([padded[t : t + n].sum(0) / n for t in range(len(scores))])
    a, rows = weight_of(settings.smoothing_s, STEP_S), [np.zeros(scores.shape[1])]
    for row in scores:
        rows.append(a * row + (1 - a) * rows[-1])
    return np.array(rows[1:])


def reference(scores, labels, settings):
    """The rules of `EventDetector` as a loop over all classes and steps."""
    values, quiet = smoothed(scores, settings), dict.fromkeys(labels, 0)
    minimum = max(1, round(settings.min_duration_s / STEP_S))
    since, peaks, current, confirmed, events = {}, {}, None, None, []

    def close(t):
        nonlocal current
        at, peak = peaks[current]
        events.append((current, since.pop(current), t, at, peak, confirmed + 1))
        quiet[current] = t + round(settings.refractory_s / STEP_S)
        current = None
        for name in since:
            since[name], peaks[name] = t, (t, values[t, labels.index(name)])

    for t, row in enumerate(values):
        for name, value in zip(labels, row, strict=True):
            levels = settings.threshold(name)
            if levels is None:
                continue
            if name in since and value < levels.off:
                close(t) if name == current else since.pop(name)
            elif name in since and value > peaks[name][1]:
                peaks[name] = (t, value)
            elif name not in since and value >= levels.on and t >= quiet[name]:
                since[name], peaks[name] = t, (t, value)
        ready = [n for n in labels if n in since and t - since[n] + 1 >= minimum]
        rank = {n: (settings.threshold(n).priority, row[labels.index(n)]) for n in ready}
        best = max(ready, key=rank.get) if ready else None
        if current is None and best is not None:
            current, confirmed = best, t
        elif best is not None and rank[best][0] > settings.threshold(current).priority:
            best_peak = since[best], peaks[best]
            close(t)
            since[best], peaks[best] = best_peak
            current, confirmed = best, t
    if current is not None:
        close(len(values) - 1)
        events[-1] = (*events[-1][:2], len(values), *events[-1][3:])
    return events


def random_case(rng):
    labels = ["a", "b", "c", "noise"]
    settings = EventSettings(
        smoothing=rng.choice(["mean", "exponential"]),
        smoothing_s=float(rng.choice([0.5, 1.0, 2.5])),
        min_duration_s=float(rng.choice([0, 1.0, 2.0])),
        refractory_s=float(rng.choice([0, 1.0, 3.0])),
        background=("noise",),
        default=ClassThreshold(0.6, float(rng.choice([0.3, 0.6])), 0),
        classes={"b": ClassThreshold(0.55, 0.45, int(rng.integers(-1, 2)))},
    )
    walk = np.cumsum(rng.normal(0, 0.25, (600, 4)), axis=0)
    return labels, settings, (0.5 + 0.5 * np.sin(walk)).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_events_are_those_of_an_independent_implementation(seed):
    labels, settings, scores = random_case(np.random.default_rng(seed))
    detector = EventDetector(labels, STEP_S, settings)
    events = [event for row in scores for event in detector.step(row)]
    events += detector.finish()
    expected = reference(scores, labels, settings)
    assert len(expected) > 2
    assert [e.label for e in events] == [e[0] for e in expected]
    actual = [(e.start_s, e.end_s, e.peak_s, e.detected_s) for e in events]
    assert np.array_equal(np.array(actual) / STEP_S, [(*e[1:4], e[5]) for e in expected])
    assert np.allclose([e.score for e in events], [e[4] for e in expected], atol=1e-12)


def test_an_event_has_its_start_end_peak_and_score():
    (event,) = detect([0, 0.6, 0.9, 0.45, 0.1], labels=["a"])
    assert event == Event("a", 0.5, 2.0, 1.0, pytest.approx(0.9), 1.0)


def test_hysteresis_bridges_a_dip_between_the_two_thresholds():
    scores = [0.6, 0.45, 0.6, 0.39, 0.45, 0.6]
    assert spans(detect(scores, refractory_s=0)) == [("a", 0, 3), ("a", 5, 6)]


def test_an_event_shorter_than_the_minimum_is_none():
    scores = [0, 1, 1, 0, 0, 1, 1, 1, 0]
    assert spans(detect(scores, min_duration_s=1.5, refractory_s=0)) == [("a", 5, 8)]
    assert detect(scores, min_duration_s=1.5)[0].detected_s == 8 * STEP_S


def test_a_class_pauses_after_its_event_and_another_does_not():
    scores = np.array([[1, 0], [0, 0], [1, 1], [0, 0], [1, 0], [0, 0]])
    assert spans(detect(scores, refractory_s=1.5)) == [("a", 0, 1), ("b", 2, 3), ("a", 4, 5)]


def test_of_two_active_classes_the_one_of_higher_priority_is_the_event():
    scores = np.array([[1, 0], [1, 0.9], [1, 0.9], [1, 0], [0, 0]])
    settings = {"refractory_s": 0, "classes": {"b": ClassThreshold(priority=1)}}
    assert spans(detect(scores, **settings)) == [("a", 0, 1), ("b", 1, 3), ("a", 3, 4)]
    # Without priorities the first stays.
    assert spans(detect(scores, refractory_s=0)) == [("a", 0, 4)]


def test_the_background_is_no_event():
    scores = np.array([[1, 0], [0, 1], [0, 0]])
    assert spans(detect(scores, background=("a",))) == [("b", 1, 2)]


@pytest.mark.parametrize("smoothing", ["mean", "exponential"])
def test_a_state_continues_in_another_detector(rng, smoothing):
    labels, settings, scores = random_case(rng)
    settings = EventSettings(**{**vars(settings), "smoothing": smoothing})
    continuous, first, second = (EventDetector(labels, STEP_S, settings) for _ in range(3))
    expected = [event for row in scores for event in continuous.step(row)]
    for cut in (1, 50, 131):
        first.reset()
        second.reset()
        events = [event for row in scores[:cut] for event in first.step(row)]
        second.state = first.state
        events += [event for row in scores[cut:] for event in second.step(row)]
        assert events == expected
    assert len(expected) > 3


def test_a_state_of_other_settings_or_damaged_is_refused():
    detector = EventDetector(["a"], STEP_S)
    detector.step(np.ones(1, np.float32))
    state = detector.state
    with pytest.raises(EdgeError, match="state of a detector with other settings"):
        EventDetector(["a"], 0.25).state = state
    for name, value in (
        ("place", np.array([99])),
        ("ring", np.full_like(state["ring"], np.nan)),
        ("tracks", np.array([[7, 0, 0]])),
        ("position", np.array([1, 0, 5])),
        ("peaks", np.zeros(4)),
        ("quiet_until", np.zeros(1)),
    ):
        with pytest.raises(EdgeError, match="is damaged: save the state again"):
            detector.state = {**state, name: value}
    assert detector.steps == 1


def test_bad_scores_are_refused_and_change_nothing():
    detector = EventDetector(["a", "b"], STEP_S, EventSettings(smoothing_s=0))
    good, bad = np.array([1, 0], np.float32), np.array([np.nan, 0], np.float32)
    detector.step(good)
    for scores, got in ((bad, "NaN or inf"), (good[:1], r"shape \(1,\)"), ([1, 0], "a list")):
        with pytest.raises(FrameError, match=f"must be finite, of shape \\(2,\\), got {got}"):
            detector.step(scores)
    assert detector.steps == 1
    assert detector.open_event.label == "a"


def test_the_mean_does_not_drift_and_recovers_from_a_huge_score(rng):
    detector = EventDetector(["a"], STEP_S, EventSettings(smoothing_s=4.0, refractory_s=0))
    for value in rng.random(10_000).astype(np.float32):
        detector.step(np.array([value]))
    detector.step(np.array([1e30], np.float32))
    for _ in range(20):
        detector.step(np.full(1, 0.45, np.float32))
    detector.step(np.zeros(1, np.float32))
    sums = detector._smoother.push(np.zeros(1, np.float32))
    assert sums[0] == 6 * round(np.float32(0.45) * 2**24) / 2**24


@pytest.mark.parametrize(
    ("labels", "step_s", "settings", "message"),
    [
        ([], 1, {}, "different names"),
        (["a", "a"], 1, {}, "different names"),
        (["a"], 0, {}, "`step_s` must be above 0"),
        (["a"], 1, {"background": ("b",)}, "name the class 'b'"),
        (["a"], 1, {"background": ("a",)}, "all classes are in the background"),
        (["a"], 1e-4, {"smoothing_s": 86400.0}, "use smoothing 'exponential'"),
        (["a"], 1, {"smoothing": "median"}, "`smoothing` must be one of"),
        (["a"], 1, {"smoothing_s": float("nan")}, "`smoothing_s` must be in 0..86400"),
        (["a"], 1, {"background": ("a",), "classes": {"a": ClassThreshold()}}, "both name 'a'"),
    ],
)
def test_settings_that_cannot_be(labels, step_s, settings, message):
    with pytest.raises(EdgeError, match=message):
        EventDetector(labels, step_s, EventSettings(**settings))


@pytest.mark.parametrize("levels", [(0.4, 0.5), (float("nan"), 0), (True, 0), (1e9, 0)])
def test_thresholds_that_cannot_be(levels):
    with pytest.raises(EdgeError, match=r"`(on|off)` must"):
        ClassThreshold(*levels)


def test_memory_does_not_grow_over_a_long_stream(rng):
    """Memory after many steps, events among them, is that after few."""
    detector = EventDetector(["a", "b"], 0.01, EventSettings(smoothing_s=0.2, refractory_s=0.1))
    scores = rng.random((500, 2)).astype(np.float32)
    scores[100:200] += 0.4
    tracemalloc.start()
    try:
        count = sum(len(detector.step(row)) for row in scores)
        before = tracemalloc.get_traced_memory()[0]
        count += sum(len(detector.step(row)) for _ in range(40) for row in scores)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert count > 40
    assert grown < 2000
