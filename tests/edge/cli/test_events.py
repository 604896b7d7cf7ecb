"""`kgated-edge events` and `check --events`: lines, states, limits, refusals."""

import io
import json
import sys

import numpy as np
import pytest
from kgated_edge import EdgeModel, EventDetector, EventSettings
from kgated_edge.events.stream import override_settings

SETTINGS = ("--smoothing-s", 0.05, "--on", 0.8, "--refractory-s", 0.1)


@pytest.fixture
def long_frames(rng):
    """Frames (600, 3) for `speech`, slow enough for events."""
    walk = np.cumsum(rng.normal(0, 0.3, (600, 3)), axis=0)
    return (4 * np.sin(walk)).astype(np.float32)


@pytest.fixture
def recording(long_frames, tmp_path):
    path = tmp_path / "recordings" / "a.npy"
    path.parent.mkdir()
    np.save(path, long_frames)
    return path


@pytest.fixture
def events(capfd, monkeypatch):
    """(bytes on standard input, arguments) -> (exit code, lines, stderr)"""
    from kgated_edge.cli import main

    def run(content, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = main.main(["events", *map(str, arguments)])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def expected_events(speech, frames):
    settings = override_settings(EventSettings(smoothing_s=0.05, refractory_s=0.1), on=0.8)
    detector, model = EventDetector(("yes", "no"), 0.01, settings), EdgeModel(speech)
    events = [event for row in model.run(frames) for event in detector.step(row)]
    return [*events, *detector.finish()]


def test_lines_are_the_events_of_the_detector(events, speech, long_frames, recording, tmp_path):
    expected, report = expected_events(speech, long_frames), tmp_path / "r.json"
    assert len(expected) > 3
    for content, arguments in ((b"", (recording,)), (long_frames.tobytes(), ("-",))):
        code, lines, err = events(content, speech, *arguments, *SETTINGS, "--json", report)
        assert code == 0
        assert [(e.label, e.start_s, e.end_s, e.peak_s, e.detected_s) for e in expected] == [
            tuple(line[k] for k in ("label", "start", "end", "peak", "detected")) for line in lines
        ]
        assert [line["score"] for line in lines] == [round(e.score, 6) for e in expected]
        assert f"steps run          600\nevents             {len(expected)}\n" in err
    assert json.loads(report.read_text())["events"] == len(expected)


def test_a_line_at_the_start_comes_before_the_end(events, speech, recording):
    _, lines, _ = events(b"", speech, recording, *SETTINGS, "--at-start")
    starts, ends = lines[::2], lines[1::2]
    assert len(ends) == len(starts) > 3
    for start, end in zip(starts, ends, strict=True):
        assert start["end"] is None
        assert (start["label"], start["start"]) == (end["label"], end["start"])
        assert start["detected"] == end["detected"]


def test_a_run_continues_from_the_state_of_the_last(events, speech, long_frames, tmp_path):
    _, uninterrupted, _ = events(long_frames.tobytes(), speech, *SETTINGS)
    state, lines = tmp_path / "state.npz", []
    for part in np.array_split(long_frames, [151, 340]):
        code, more, _ = events(part.tobytes(), speech, *SETTINGS, "--state", state)
        lines += more
    assert code == 0
    assert len(lines) > 3
    assert lines == uninterrupted[: len(lines)]  # the event open at the end stays open


def test_a_state_of_other_settings_is_refused(events, speech, long_frames, tmp_path):
    state = tmp_path / "state.npz"
    events(long_frames.tobytes(), speech, *SETTINGS, "--state", state)
    EdgeModel(speech).load_state(state)  # the model's part
    content = state.read_bytes()
    code, lines, err = events(long_frames.tobytes(), speech, "--on", 0.9, "--state", state)
    assert (code, lines) == (2, [])
    assert "state of a detector with other settings" in err
    assert state.read_bytes() == content
    EdgeModel(speech).save_state(state)
    assert "detector with other settings" in events(b"", speech, "--state", state)[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--off", 0.9, "--on", 0.5), "`off` must not be above `on`"),
        (("--background", "yes,no"), "all classes are in the background"),
        (("--background", "maybe"), "name the class 'maybe'"),
        (("--smoothing-s", -1), "must not be below 0"),
        (("--smoothing-s", 1e5), "`smoothing_s` must be in 0..86400"),
        (("--state", "no/folder/s.npz"), "cannot be written"),
    ],
)
def test_bad_settings(events, speech, arguments, message):
    code, lines, err = events(b"", speech, *arguments)
    assert (code, lines) == (2, [])
    assert message in err.replace("\n", " ")


def test_events_need_a_sample_period(events, text, fixture_file):
    assert "the model has no sample period" in events(b"", text)[2]
    assert events(b"", text, "--period-ms", 100, "--format", "csv")[0] == 0
    assert "mode 'stream'" in events(b"", fixture_file("whole"))[2]


def labels_file(tmp_path, rows, header=True):
    path = tmp_path / "labels.csv"
    head = "file,start,end,label\n" if header else ""
    path.write_text(head + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def reference_rows(speech, frames):
    return [("a.npy", e.start_s, e.end_s, e.label) for e in expected_events(speech, frames)]


def test_check_holds_events_to_limits(command, speech, long_frames, recording, tmp_path):
    rows, report = reference_rows(speech, long_frames), tmp_path / "r.json"
    labels = labels_file(tmp_path, rows)
    limits = ("--max-false-accepts-per-hour", 0, "--max-miss-rate", 0, "--max-delay-ms", 100)
    arguments = (speech, "--data", recording.parent, "--events", labels, *SETTINGS, *limits)
    code, out, _ = command("check", *arguments, "--json", report)
    assert code == 0, out
    assert out.endswith("PASS\n")
    result = json.loads(report.read_text())["events"]
    assert (result["hits"], result["misses"], result["false_accepts"]) == (len(rows), 0, 0)
    assert result["hours"] == pytest.approx(6 / 3600)
    # One label fewer is a false accept, one more a miss.
    labels_file(tmp_path, [*rows[1:], ("a.npy", 0, 0, "yes")])
    arguments += ("--collar-s", 0, "--deadline-ms", 1e-6)
    code, out, _ = command("check", *arguments, "--json", report)
    result = json.loads(report.read_text())
    assert code == 1
    assert not result["passed"]
    assert any("false accepts per hour: " in reason for reason in result["failures"])
    assert out.count("FAIL: ") == len(result["failures"])
    assert "fraction of events missed: " in out
    assert "600 of 600 steps took longer" in out


def test_limits_of_events_in_a_file(command, speech, npz, long_frames, recording, tmp_path):
    labels = labels_file(tmp_path, reference_rows(speech, long_frames)[:2], header=False)
    limits = tmp_path / "limits.toml"
    limits.write_text("max_false_accepts_per_hour = 0.5\nmax_miss_rate = 0.1\nmax_delay_ms = 300")
    arguments = ("check", speech, "--data", recording, "--limits", limits)
    code, out, _ = command(*arguments, "--events", labels, *SETTINGS)
    assert code == 1
    assert "at most 0.5 allowed" in out
    _, _, refusal = command("check", speech, "--data", npz, "--limits", limits)
    assert "delay_ms_p95" in refusal
    limits.write_text("min_accuracy = 1")
    assert (
        "a limit is on accuracy, a run over events has"
        in command(*arguments, "--events", labels)[2]
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("b.npy", 0, 1, "yes")], "there is no recording 'b.npy'"),
        ([("a.npy", 0, 1, "maybe")], "'maybe' is not one of the model's ['yes', 'no']"),
        ([("a.npy", 7, 8, "yes")], "lies beyond the recording of 6.000 s"),
        ([("a.npy", 5, 9, "yes")], "lies beyond the recording of 6.000 s"),
        ([("a.npy", 2, 1, "yes")], "end after it starts"),
        ([("a.npy", "x", 1, "yes")], "must be seconds, got 'x' and '1'"),
        ([("a.npy", 0, 2, "yes"), ("a.npy", 1, 3, "yes")], "two events 'yes' overlap"),
        ([("a.npy", 0, 2)], "line 2 must hold file, start, end, label, got 3 fields"),
        ([("a.npy", -1, 1, "yes")], "end after it starts, from 0"),
        ([("a.npy", "nan", 1, "yes")], "end after it starts, from 0"),
        ([("a.npy", 0, 1, "")], "must have a label"),
        ([("a.npy", 0, 2, "yes"), ("a.npy", 0, 2, "yes")], "two events 'yes' overlap"),
    ],
)
def test_bad_labels(error, speech, recording, tmp_path, rows, message):
    labels = labels_file(tmp_path, rows)
    assert message in error("check", speech, "--data", recording, "--events", labels)


def test_bad_recordings_and_options(error, speech, recording, tmp_path, npz):
    labels = labels_file(tmp_path, [])
    check = ("check", speech, "--events", labels, "--data")
    assert "no such file or folder" in error(*check, tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "there is no recording" in error(*check, tmp_path / "empty")
    assert "--min-accuracy is for sequences" in error(*check, recording, "--min-accuracy", 1)
    assert "there is no event to miss" in error(*check, recording, "--max-miss-rate", 0.1)
    np.save(tmp_path / "short.npy", np.zeros((0, 3), np.float32))
    assert "shorter than one step" in error(*check, tmp_path / "short.npy")
    (tmp_path / "bad.npy").write_bytes(b"no array")
    assert "not an intact .npy file" in error(*check, tmp_path / "bad.npy")
    assert "--on is for a check of events" in error("check", speech, "--data", npz, "--on", 1)
    track = tmp_path / "track.txt"
    track.write_text("0.5\t1.0\tyes\n\\\t100\t200\n")
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, np.zeros((200, 3), np.float32))
    assert "a label track is for one recording" in error(
        "check", speech, "--events", track, "--data", folder
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file of labels is empty"),
        (b"\n \n", "the file of labels is empty"),
        (b"file,start,end,label\na.npy,0,1,\xe9\n", "must be text in UTF-8"),
        (
            b"file;start;end;label\na.npy;0,5;1,5;yes\n",
            "separate them by commas, with decimal points",
        ),
        (
            b"file,start,end,label,end\na.npy,0,1,yes,2\n",
            "name each of file, start, end, label once",
        ),
    ],
)
def test_a_file_of_labels_of_another_kind(error, speech, recording, tmp_path, content, message):
    labels = tmp_path / "labels.csv"
    labels.write_bytes(content)
    assert message in error("check", speech, "--data", recording, "--events", labels)
    assert "Is a directory" in error("check", speech, "--data", recording, "--events", tmp_path)


def test_folders_named_as_recordings_are_none(command, speech, recording, tmp_path):
    (recording.parent / "b.npy").mkdir()
    labels = labels_file(tmp_path, [])
    code, out, _ = command("check", speech, "--data", recording.parent, "--events", labels)
    assert (code, "recordings / steps      1 / 600" in out) == (0, True)


def test_a_label_track(command, speech, recording, tmp_path):
    track = tmp_path / "track.txt"
    track.write_text("0.5\t1.0\tyes\n\\\t100\t200\n2.5\t2.5\tno\n")
    _, out, _ = command("check", speech, "--data", recording, "--events", track, *SETTINGS)
    assert "  yes: " in out
    assert "of 1 hit" in out
