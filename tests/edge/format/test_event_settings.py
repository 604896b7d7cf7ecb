"""The manifest's section `events`: read back as written, each defect one sentence."""

import copy
import json

import pytest
from kgated_edge import ClassThreshold, EventSettings, ManifestError, read_manifest
from kgated_edge.format.event_settings import steps_of
from kgated_edge.format.reader import parse_manifest

SETTINGS = EventSettings(
    smoothing="exponential",
    smoothing_s=0.25,
    min_duration_s=0.1,
    refractory_s=1.0,
    background=("no",),
    default=ClassThreshold(0.7, 0.6, 2),
    classes={"yes": ClassThreshold(0.9, 0.5, -3)},
)


def document(speech):
    plain = json.loads(read_manifest(speech).to_json())
    return {**plain, "events": json.loads(json.dumps(SETTINGS.to_plain()))}


def test_settings_survive_the_manifest(speech):
    manifest = parse_manifest(json.dumps(document(speech)))
    assert manifest.events == SETTINGS
    assert parse_manifest(manifest.to_json()).events == SETTINGS
    assert "events" not in read_manifest(speech).to_json()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((), [], "`events` must be an object"),
        (("smoothing",), "median", "`events`: `smoothing` must be one of"),
        (("smoothing_s",), 1e9, "`events`: `smoothing_s` must be in 0..86400"),
        (("smoothing_s",), True, "`events.smoothing_s` must be a finite number"),
        (("refractory_s",), -1, "`events.refractory_s` must be a finite number, not negative"),
        (("background",), ["yes"], "`events`: `background` and `classes` both name 'yes'"),
        (("background",), [1], "`events.background` must be an array of strings"),
        (("classes",), [], "`events.classes` must be an object"),
        (("classes", "yes"), 1, "`events.classes.yes` must be an object"),
        (("classes", "yes", "on"), float("nan"), "`events.classes.yes.on` must be a finite"),
        (("classes", "yes", "on"), 0.1, "`events.classes.yes`: `off` must not be above `on`"),
        (("default", "on"), 1e7, "`events.default`: `on` must be a number of at most"),
        (("default", "priority"), 1.5, "`events.default.priority` must be a whole number"),
        (("default", "priority"), 10**9, "`events.default`: `priority` must be a whole number"),
    ],
)
def test_each_defect_is_named(speech, path, value, message):
    plain = document(speech)
    target = plain
    for key in ("events", *path)[:-1]:
        target = target[key]
    target[("events", *path)[-1]] = value
    with pytest.raises(ManifestError) as error:
        parse_manifest(json.dumps(plain))
    assert message in str(error.value)


def test_each_field_that_is_missing_is_named(speech):
    plain = document(speech)
    for key in plain["events"]:
        changed = copy.deepcopy(plain)
        del changed["events"][key]
        with pytest.raises(ManifestError, match=f"`events.{key}` is missing"):
            parse_manifest(json.dumps(changed))


def test_steps_last_at_least_the_time():
    assert [steps_of(s, 0.1) for s in (0, 0.05, 0.1, 0.3, 0.31)] == [0, 1, 1, 3, 4]
