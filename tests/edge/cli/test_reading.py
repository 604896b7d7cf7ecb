"""How `check --events` reads recordings: columns, bad frames, audio; as `events` does."""

import json

import numpy as np
import pytest
from kgated_edge import EdgeModel, EventDetector, EventSettings
from kgated_edge.events.stream import override_settings

SETTINGS = ("--smoothing-s", 0.05, "--on", 0.8, "--refractory-s", 0.1)


@pytest.fixture
def frames(rng):
    """Frames (600, 3) for `speech`, slow enough for events."""
    walk = np.cumsum(rng.normal(0, 0.3, (600, 3)), axis=0)
    return (4 * np.sin(walk)).astype(np.float32)


def event_rows(speech, frames):
    """Start, end and label of the events that the device finds."""
    settings = override_settings(EventSettings(smoothing_s=0.05, refractory_s=0.1), on=0.8)
    detector, model = EventDetector(("yes", "no"), 0.01, settings), EdgeModel(speech)
    events = [event for row in model.run(frames) for event in detector.step(row)]
    return [(e.start_s, e.end_s, e.label) for e in (*events, *detector.finish())]


def write_labels(path, rows):
    path.write_text("\n".join(["file,start,end,label", *(",".join(map(str, r)) for r in rows)]))
    return path


@pytest.fixture
def sensor_csv(speech, frames, tmp_path):
    """A folder with the recording as CSV in other columns, and the labels of its events."""
    folder = tmp_path / "csv"
    folder.mkdir()
    rows = [f"{k / 100:.2f},9,{c:.9g},{b:.9g},{a:.9g}" for k, (a, b, c) in enumerate(frames)]
    (folder / "a.csv").write_text("\n".join(["clock,noise,c,b,a", *rows]) + "\n")
    labels = [("a.csv", *row) for row in event_rows(speech, frames)]
    assert len(labels) > 3
    return folder, write_labels(tmp_path / "labels.csv", labels)


def test_check_reads_recordings_as_events_does(command, speech, sensor_csv, tmp_path):
    folder, labels = sensor_csv
    report = tmp_path / "r.json"
    arguments = ("check", speech, "--data", folder, "--events", labels, *SETTINGS)
    columns = ("--columns", "a,b,c", "--time-column", "clock")
    code, out, _ = command(*arguments, *columns, "--max-miss-rate", 0, "--json", report)
    assert code == 0, out
    assert json.loads(report.read_text())["events"]["false_accepts"] == 0
    # In another order the features are others.
    command(*arguments, "--columns", "c,b,a", "--json", report)
    assert json.loads(report.read_text())["events"]["misses"] > 0
    lines = (folder / "a.csv").read_text().splitlines()
    lines[300] = "damaged"
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    assert command(*arguments, *columns)[0] == 2
    code, out, _ = command(*arguments, *columns, "--on-bad-frame", "hold", "--json", report)
    assert "frames held" in out
    result = json.loads(report.read_text())
    assert (result["held_frames"], result["steps"]) == (1, 600)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--on-bad-frame", "skip"), "invalid choice: 'skip'"),
        (("--columns", "a,b"), "`columns` must name 3 columns"),
        (("--columns", "a,b,d"), "no column 'd'"),
        (("--rate", 8000), "are for audio, not csv"),
        (("--low-hz", 20), "are for audio, not csv"),
        (("--window", "2.0"), "must be a whole number"),
    ],
)
def test_reading_options_that_do_not_fit(error, speech, sensor_csv, arguments, message):
    folder, labels = sensor_csv
    assert message in error("check", speech, "--data", folder, "--events", labels, *arguments)


def test_reading_options_are_for_a_check_of_events(error, speech, npz, frames, tmp_path):
    assert "--columns is for a check of events" in error(
        "check", speech, "--data", npz, "--columns", "a"
    )
    np.save(tmp_path / "a.npy", frames)
    check = ("check", speech, "--data", tmp_path / "a.npy", "--events")
    labels = write_labels(tmp_path / "labels.csv", [])
    assert "are for csv, not npy" in error(*check, labels, "--columns", "a")
