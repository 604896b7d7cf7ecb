"""Which scores a model has, and the errors of what it repeats or predicts."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, EventSettings, EventStream, read_manifest
from kgated_edge.events.scores import default_settings, make_scorer, score_labels


@pytest.fixture
def alike(speech):
    """The manifest of `speech` with an output like its frames, (3,)."""
    manifest = read_manifest(speech)
    return replace(manifest, labels=None, outputs=(replace(manifest.outputs[0], shape=(3,)),))


def test_the_error_is_the_root_mean_square(alike, rng):
    frames = rng.normal(size=(5, 3)).astype(np.float32)
    results = frames + rng.normal(size=(5, 3)).astype(np.float32)
    scorer = make_scorer(alike, "reconstruction")
    errors = [scorer(frame, result) for frame, result in zip(frames, results, strict=True)]
    assert np.allclose(np.ravel(errors), np.sqrt(((frames - results) ** 2).mean(1)), atol=1e-6)
    scorer = make_scorer(alike, "prediction")
    errors = [scorer(frame, result) for frame, result in zip(frames, results, strict=True)]
    pairs = pairwise(zip(frames, results, strict=True))
    expected = [0, *(np.sqrt(((before[1] - now[0]) ** 2).mean()) for before, now in pairs)]
    assert np.allclose(np.ravel(errors), expected, atol=1e-6)


def test_labels_of_scores(speech, alike):
    assert score_labels(read_manifest(speech), "output") == ("yes", "no")
    assert score_labels(alike, "output") == ("0", "1", "2")
    assert score_labels(alike, "prediction") == ("anomaly",)
    single = replace(alike, outputs=(replace(alike.outputs[0], shape=(1,)),))
    assert score_labels(single, "output") == ("event",)


def test_well_known_names_are_the_background_where_nothing_is_set(alike):
    labels = ("Noise", "yes", "_silence_")
    assert default_settings(replace(alike, labels=labels)).background == ("Noise", "_silence_")
    settings = EventSettings(smoothing_s=1.0)
    assert default_settings(replace(alike, labels=labels, events=settings)) is settings


@pytest.mark.parametrize(
    ("changes", "score", "message"),
    [
        ({"batch": 2}, "output", "a batch of 1"),
        ({"frames_per_step": 2}, "prediction", "with 2 frames per step"),
        ({}, "reconstruction", "needs an output of the shape of the only input"),
    ],
)
def test_models_without_such_scores(speech, changes, score, message):
    with pytest.raises(EdgeError, match=message):
        make_scorer(replace(read_manifest(speech), **changes), score)


def test_a_reset_is_a_fresh_start(speech, rng):
    frames = (4 * rng.normal(size=(200, 3))).astype(np.float32)
    stream = EventStream(EdgeModel(speech), EventSettings(smoothing_s=0.02))
    first = [event for frame in frames for event in stream.step(frame)] + [*stream.finish()]
    again = [event for frame in frames for event in stream.step(frame)] + [*stream.finish()]
    assert first == again
    assert len(first) > 1


class Repeater:
    """A model whose results are zeros of the shape of its frames."""

    has_finite_state = True

    def __init__(self, manifest):
        self.manifest = manifest

    def step(self, frame):
        return np.zeros(3, np.float32)

    def reset(self):
        raise AssertionError("its state is finite")


def test_an_error_that_overflows_is_an_event_of_its_step(alike):
    settings = EventSettings(score="reconstruction", smoothing_s=0.0, refractory_s=0)
    stream = EventStream(Repeater(alike), settings)
    frames = np.zeros((4, 3), np.float32)
    frames[1] = 1e25
    events = [event for frame in frames for event in stream.step(frame)]
    assert [(e.label, e.start_s, e.end_s, e.score) for e in events] == [
        ("anomaly", 0.01, 0.02, float(np.finfo(np.float32).max))
    ]
    assert stream.not_finite_steps == 1


def test_a_model_of_whole_sequences_has_no_events(alike):
    manifest = replace(alike, mode="sequence")
    with pytest.raises(EdgeError, match=r"has the mode 'sequence' and a batch of 1: convert it"):
        make_scorer(manifest, "output")
