"""The detector of `events.js` in Chromium against `EventDetector`."""

from dataclasses import asdict

import numpy as np
import pytest
from kgated_edge import EventDetector
from kgated_edge.format.event_settings import ClassThreshold, EventSettings

pytestmark = pytest.mark.slow
LABELS = ("yes", "no", "noise")
STEP_S = 0.02
SETTINGS = {
    "defaults": EventSettings(),
    "none": EventSettings(smoothing_s=0.0, refractory_s=0.0),
    "exponential": EventSettings(
        smoothing="exponential", smoothing_s=0.1, min_duration_s=0.06, background=("noise",)
    ),
    "priorities": EventSettings(
        smoothing_s=0.05,
        min_duration_s=0.04,
        refractory_s=0.1,
        classes={"no": ClassThreshold(0.3, 0.2, 2), "noise": ClassThreshold(0.6, 0.1, -1)},
    ),
}
DETECT = """
    const detector = new m.EventDetector(labels, step, settings);
    const events = rows.map(row => {
        const ended = detector.step(row);
        return [...ended, detector.openEvent];
    });
    return {events, last: detector.finish()};
"""


@pytest.fixture
def scores(rng):
    """Scores (600, 3) that stay high or low for a while, with ties."""
    levels = np.repeat(rng.random((60, 3)), 10, axis=0)
    return np.round(levels + rng.normal(0, 0.1, levels.shape), 2).astype(np.float32)


@pytest.mark.parametrize("name", SETTINGS)
def test_events_are_those_of_the_runner(run_js, scores, name):
    detector = EventDetector(LABELS, STEP_S, SETTINGS[name])
    expected = [[*detector.step(row), detector.open_event] for row in scores]
    last = detector.finish()
    settings = SETTINGS[name].to_plain()
    result = run_js(
        DETECT, "events", labels=list(LABELS), step=STEP_S, settings=settings, rows=scores
    )
    plain = [[event and event._asdict() for event in row] for row in expected]
    assert result["events"] == plain
    assert result["last"] == [event._asdict() for event in last]
    assert sum(len(row) - 1 for row in expected) > 3


def test_the_settings_have_the_form_of_the_manifest():
    plain = SETTINGS["priorities"].to_plain()
    assert plain["classes"]["no"] == asdict(ClassThreshold(0.3, 0.2, 2))


@pytest.mark.parametrize("score", ["reconstruction", "prediction"])
def test_scores_of_errors(run_js, rng, score):
    frames, outputs = rng.normal(size=(2, 5, 3)).astype(np.float32)
    body = """
        const manifest = {
            sample_period_s: 0.01, frames_per_step: 1, results_per_step: 1, labels: null,
            outputs: [{shape: [3]}], events: {...settings, score},
        };
        const {detector, scores} = m.eventDetector(manifest);
        const rows = frames.map((frame, n) => Array.from(
            scores(Float32Array.from(frame), Float32Array.from(outputs[n]))));
        return [detector.labels, rows.flat()];
    """
    settings = EventSettings().to_plain()
    labels, rows = run_js(
        body, "events", frames=frames, outputs=outputs, score=score, settings=settings
    )
    expected = np.sqrt(np.mean((frames - outputs) ** 2, axis=1))
    if score == "prediction":
        expected = np.sqrt(np.mean((frames[1:] - outputs[:-1]) ** 2, axis=1))
        expected = np.concatenate([[0], expected])
    assert labels == ["anomaly"]
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
