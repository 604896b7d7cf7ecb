"""`kgated tune`: the exact search over stored scores, the file that it changes, the page."""

import argparse
import itertools
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from kgated_edge import (
    ClassThreshold,
    EdgeError,
    EdgeModel,
    EventDetector,
    EventSettings,
    ReferenceEvent,
    check_events,
    match_events,
    read_manifest,
)
from kgated_edge.cli.reading import add_reading
from kgated_edge.events.smoothing import make_smoother
from typer.testing import CliRunner

from kgated.tuning import tune, with_section, write_section
from kgated.tuning.operating_points import (
    StoredRecording,
    detections,
    off_of,
    points_of,
    smoothed,
)
from kgated.tuning.page import metric_texts
from kgated.tuning.search import Curve, best_choices, best_curve
from kgated_cli.app import app

STEP_S = 0.25


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("smoothing", ["mean", "exponential"])
@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.6])
def test_stored_scores_are_smoothed_to_the_bits_of_the_device(rng, smoothing, seconds):
    scores = rng.random((400, 3)).astype(np.float32)
    settings = EventSettings(smoothing=smoothing, smoothing_s=seconds)
    device = make_smoother(settings, 3, STEP_S)
    expected = [device.push(row) / device.scale for row in scores]
    assert np.array_equal(smoothed(scores, settings, STEP_S), expected)


@pytest.mark.parametrize("seed", range(12))
def test_events_of_a_class_are_those_of_the_detector(seed):
    rng = np.random.default_rng(seed)
    scores = (0.5 + 0.5 * np.sin(np.cumsum(rng.normal(0, 0.5, (500, 1)), axis=0))).astype("f")
    on = float(rng.choice([0.5, 0.8]))
    settings = EventSettings(
        smoothing_s=0.5,
        min_duration_s=float(rng.choice([0, 1.0])),
        refractory_s=float(rng.choice([0, 0.5, 2.0])),
        default=ClassThreshold(on, off_of(on)),
    )
    detector = EventDetector(["a"], STEP_S, settings)
    expected = [event for row in scores for event in detector.step(row)] + [*detector.finish()]
    values = smoothed(scores, settings, STEP_S)[:, 0]
    events = list(detections(values, on, settings, STEP_S, "a"))
    assert len(expected) > 5
    assert [(e.start_s, e.end_s, e.detected_s) for e in events] == [
        (e.start_s, e.end_s, e.detected_s) for e in expected
    ]


def test_the_search_finds_the_best_of_all_combinations(rng):
    scores = rng.random((600, 2)).astype(np.float32) ** 2
    events = []
    for label, k in (("a", 0), ("b", 1)):
        for start in range(20, 580, 60):
            scores[start : start + 12, k] += rng.uniform(0, 0.6)
            events.append(ReferenceEvent(label, start * STEP_S, (start + 12) * STEP_S))
    stored = [StoredRecording("x", scores, events)]
    settings = EventSettings(smoothing_s=1.0)
    values = smoothed(scores, settings, STEP_S)
    points = [
        points_of(stored, [values[:, k]], label, settings, STEP_S, 0.5, 30)
        for k, label in enumerate("ab")
    ]
    for point in points[0][::7]:
        detected = list(detections(values[:, 0], point.on, settings, STEP_S, "a"))
        matching = match_events([e for e in events if e.label == "a"], detected)
        counts = len(matching.false_accepts), len(matching.misses)
        assert counts == (point.false_accepts, point.misses)
    choices = best_choices(points, 30)
    for budget in (0, 1, 3, 10, 30):
        expected = min(
            a.misses + b.misses
            for a, b in itertools.product(*points)
            if a.false_accepts + b.false_accepts <= budget
        )
        assert choices[budget][0] == expected
    assert choices[0][0] > choices[30][0]


def test_tuning_meets_its_limit_and_beats_raw_decisions(model, recordings):
    before = model.read_bytes()
    tuned = tune(model, *recordings, max_false_accepts_per_hour=60.0, refractory_s=0.3)
    assert model.read_bytes() == before
    assert tuned.settings.background == ("no",)
    assert tuned.after.false_accepts_per_hour <= 60.0
    assert tuned.after.misses <= tuned.before.misses
    assert tuned.after.false_accepts * 20 <= tuned.before.false_accepts
    assert tuned.after.hours == pytest.approx(60 / 3600)
    texts = metric_texts(replace(tuned.after, delay_ms_p95=12_345.6))
    assert texts["delay, 95%, ms"] == "12346"  # without an exponent


def test_the_fewest_false_accepts_without_more_misses(model, recordings):
    tuned = tune(model, *recordings, max_false_accepts_per_hour=100_000, keep_misses=True)
    allowed = tuned.before.misses
    assert tuned.after.misses <= allowed
    assert tuned.after.false_accepts < tuned.before.false_accepts
    fewer = [curve.choices[tuned.after.false_accepts - 1] for curve in tuned.curves]
    assert tuned.after.false_accepts > 0
    assert min(misses for misses, *_ in fewer) > allowed


def test_the_search_takes_the_first_point_with_few_misses():
    curves = [
        Curve("mean", 0.0, ((9, 0.0, (0.9,)), (5, 0.0, (0.8,)), (1, 0.0, (0.1,)))),
        Curve("mean", 0.5, ((8, 0.0, (0.7,)), (6, 0.0, (0.6,)), (2, 0.0, (0.2,)))),
    ]
    assert best_curve(curves, 2, -1) == (0, curves[0].choices[2])
    assert best_curve(curves, 2, 5) == (0, curves[0].choices[1])
    assert best_curve(curves, 2, 8) == (1, curves[1].choices[0])
    assert best_curve(curves, 0, 1) == (1, curves[1].choices[0])


def test_the_command_writes_settings_that_the_device_uses(model, recordings, tmp_path):
    page = tmp_path / "page.html"
    arguments = ["tune", model, *recordings, "--max-false-accepts-per-hour", 60, "--page", page]
    result = CliRunner().invoke(app, [*map(str, arguments), "--refractory-s", "0.3"])
    assert result.exit_code == 0, result.output
    assert "chosen settings, on the same recordings" in result.stdout
    manifest = read_manifest(model)
    assert list(manifest.events.classes) == ["yes"]
    assert manifest.events.refractory_s == 0.3
    limits = {"max_false_accepts_per_hour": 60.0, "max_miss_rate": 0.5}
    checked = check_events(model, *recordings, **limits)
    assert checked.passed, checked.failures
    text = page.read_text()
    assert "false accepts per hour" in text
    assert 'id="tradeoff"' in text
    lines = re.findall(r'"line":({[^}]*"shape":"hv"[^}]*})', text)
    assert len(lines) > 20
    assert len(set(lines)) == len(lines) / 2, "each curve of a chart has its own colour and dash"
    assert f"{checked.events.misses} of {checked.events.reference}" in text


def test_a_changed_section_changes_no_other_byte(model):
    """Short sections take the place of the old manifest, long ones are appended."""
    original = model.read_bytes()
    frames = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    expected = EdgeModel(model).run(frames)
    start = original.index(b'{"format_version"')
    end = original.index(b"}", original.index(b'"file_sha256"')) + 1
    settings = EventSettings(background=("no",)).to_plain()
    appended_at = []
    for section in (settings, {**settings, "smoothing_s": 1.5}, None, settings):
        write_section(model, "events", section)
        content, manifest = model.read_bytes(), read_manifest(model)
        assert (manifest.events is None) == (section is None)
        assert manifest.labels == ("yes", "no")
        assert np.array_equal(EdgeModel(model).run(frames), expected)
        differs = [
            n for n in range(len(original)) if not start <= n < end and content[n] != original[n]
        ]
        assert len(differs) <= 4  # the offset of the manifest
        assert not differs or max(differs) - min(differs) < 4
        appended_at.append(content.index(b'{"format_version"'))
    assert len(set(appended_at)) == 1  # the second change fits where the first one is
    # A section that never fits moves to the new end of the file.
    names = {f"class{n}": ClassThreshold() for n in range(100)}
    longer = with_section(model.read_bytes(), "events", EventSettings(classes=names).to_plain())
    assert len(longer) < len(original) + 4 * 100 * 60
    model.write_bytes(longer)
    assert len(read_manifest(model).events.classes) == 100


def test_a_bad_section_is_refused_and_sections_of_later_versions_stay(model):
    content = model.read_bytes()
    with pytest.raises(EdgeError, match=r"`events.classes` is missing"):
        write_section(model, "events", {})
    assert model.read_bytes() == content
    write_section(model, "later", {"a": 1})
    write_section(model, "events", EventSettings().to_plain())
    assert b'"later":{"a":1}' in model.read_bytes()


def test_a_page_without_its_packages_is_refused_before_the_search(model, recordings, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    before = model.read_bytes()
    arguments = ["tune", model, *recordings, "--page", model.with_name("page.html")]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(result.exception, ImportError)
    assert 'pip install "kgated[report]"' in str(result.exception)
    assert result.stdout == ""
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give LABELS, or --false-alarms-per-day"),
        (("labels.csv", "--false-alarms-per-day", "1"), "one of two"),
        (("--false-alarms-per-day", "1", "--page", "x.html"), "--page is for labelled"),
        (("--false-alarms-per-day", "1"), "needs an output of the shape of the only input"),
    ],
)
def test_arguments_that_do_not_fit(model, recordings, arguments, message):
    result = CliRunner().invoke(app, ["tune", str(model), str(recordings[0]), *arguments])
    assert isinstance(result.exception, ValueError)
    assert message in str(result.exception)


def test_labels_without_an_event_are_refused(model, recordings):
    recordings[1].write_text("file,start,end,label\n")
    with pytest.raises(EdgeError, match="there is no labelled event to tune on"):
        tune(model, *recordings)
    with pytest.raises(EdgeError, match="must be a finite number from 0, got -1"):
        tune(model, *recordings, max_false_accepts_per_hour=-1)


def test_the_settings_are_json(model, recordings):
    tuned = tune(model, *recordings, smoothing_s=(0.2,), smoothings=("mean",))
    assert json.loads(json.dumps(tuned.settings.to_plain()))["smoothing_s"] == 0.2


def test_tune_reads_recordings_by_the_options_of_check(model, recordings, tmp_path):
    """The same recordings as CSV, with another order of columns and a damaged line."""
    folder, labels = tmp_path / "csv", recordings[1].read_text().replace(".npy", ".csv")
    folder.mkdir()
    for path in recordings[0].iterdir():
        rows = [f"9,{c:.9g},{b:.9g},{a:.9g}" for a, b, c in np.load(path)]
        (folder / path.with_suffix(".csv").name).write_text("\n".join(["x,c,b,a", *rows]))
    (tmp_path / "csv.csv").write_text(labels)
    command = ["tune", str(model), str(folder), str(tmp_path / "csv.csv"), "--dry-run"]
    plain = ["tune", str(model), *map(str, recordings), "--dry-run"]
    expected = CliRunner().invoke(app, plain, catch_exceptions=False).output
    command += ["--columns", "a,b,c"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).output == expected
    with (folder / "a.csv").open("a") as file:
        file.write("\ndamaged")
    refused = CliRunner().invoke(app, command)
    assert "a.csv" in str(refused.exception)
    held = CliRunner().invoke(app, [*command, "--on-bad-frame", "hold"])
    assert held.exit_code == 0, held.output


def test_tune_has_the_options_of_check_that_read_recordings():
    parser = argparse.ArgumentParser()
    add_reading(parser)
    shared = {option for action in parser._actions for option in action.option_strings}
    help_text = CliRunner().invoke(app, ["tune", "--help"], env={"COLUMNS": "200"}).output
    assert len(shared) > 8
    assert [option for option in shared - {"-h"} if option not in help_text] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--on-bad-frame", "skip"), "must be one of ['refuse', 'hold']"),
        (("--columns", "a"), "are for csv, not npy"),
        (("--rate", "16000"), "are for audio, not npy"),
    ],
)
def test_reading_options_that_do_not_fit(model, recordings, arguments, message):
    result = CliRunner().invoke(app, ["tune", str(model), *map(str, recordings), *arguments])
    assert message in str(result.exception)
