"""The manifest: every field read, every defect refused."""

import base64
import copy
import json
import random
import re

import numpy as np
import pytest
from kgated_edge import ManifestError, read_manifest
from kgated_edge.format.reader import parse_manifest

MUTATIONS = 300


@pytest.fixture
def document(speech):
    """The manifest as parsed JSON, cut out of the file without this package."""
    return parse(speech.read_bytes())


def parse(content):
    start = content.index(b'{"format_version"')
    return json.JSONDecoder().raw_decode(content[start:].decode(errors="replace"))[0]


def test_reads_every_field(speech, document):
    manifest = read_manifest(speech)
    assert manifest.mode == "stream"
    assert manifest.signature == "step"
    assert manifest.recipe["mode"] == "stream"
    assert manifest.recipe["quantize"] == "none"
    assert (manifest.frame.name, manifest.frame.shape) == ("frame", (3,))
    assert (manifest.frame.dtype, manifest.frame.vocabulary) == ("float32", None)
    assert (manifest.output.name, manifest.output.shape) == ("output", (2,))
    assert [(state.name, state.shape) for state in manifest.states] == [
        ("lstm_h", (4,)),
        ("lstm_c", (4,)),
    ]
    assert manifest.labels == ("yes", "no")
    assert manifest.sample_period_s == 0.01
    assert manifest.model.name == "speech"
    assert manifest.model.parameters == 3 * 16 + 4 * 16 + 16 + 4 * 2 + 2
    assert manifest.model.sha256 == document["model"]["sha256"]
    assert manifest.tools == document["tools"]
    assert manifest.golden.tolerance == document["golden"]["tolerance"]
    assert manifest.file_sha256 == document["file_sha256"]


def test_reads_a_token_model(text):
    manifest = read_manifest(text)
    assert (manifest.frame.shape, manifest.frame.dtype) == ((), "int32")
    assert manifest.frame.vocabulary == 5
    assert (manifest.labels, manifest.sample_period_s) == (None, None)
    assert manifest.golden.frames["frame"].dtype == np.int32


@pytest.mark.parametrize("name", ["speech", "text"])
def test_golden_outputs_are_those_of_the_equations(name, oracle, request):
    path = request.getfixturevalue(name)
    golden = read_manifest(path).golden
    frames = golden.frames["frame"]
    assert len(frames) > 1
    assert np.abs(golden.outputs["output"] - oracle(path, frames)).max() <= golden.tolerance
    assert np.abs(golden.outputs["output"] - oracle(path, frames[::-1])).max() > golden.tolerance


def test_survives_a_round_trip(document):
    again = json.loads(parse_manifest(json.dumps(document)).to_json())
    assert again == {"single": [], "batch": 1, **document}  # what older files leave out


def test_keys_of_a_later_version_are_left_alone(document):
    document["colour"] = document["frames"][0]["colour"] = "red"
    assert parse_manifest(json.dumps(document)).frame.shape == (3,)


def change(*path):
    """A function that puts a value at a path of the document."""

    def put(document, value):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return put


DEFECTS = [
    (change("mode"), "other", "`mode` must be 'stream' or 'sequence', got 'other'"),
    (change("mode"), "sequence", "`signature` must be 'serve', got 'step'"),
    (change("signature"), "serve", "`signature` must be 'step'"),
    (change("recipe"), ["stream"], "`recipe` must be an object"),
    (change("frames"), None, "`frames` must be an array, got None"),
    (change("frames", 0), None, r"`frames\[0\]` must be an object, got None"),
    (change("frames"), [], "`frames` must be float32"),
    (change("outputs"), [], "`outputs` must be float32"),
    (change("frames_per_step"), 0, "`frames_per_step` must be a whole number of at least 1"),
    (change("frames_per_step"), 2, "`golden.outputs` must be one per step of the golden frames"),
    (change("results_per_step"), 2, "`results_per_step` must be 1, or in a stream a divisor"),
    (change("results_per_step"), 0, "`results_per_step` must be a whole number of at least 1"),
    (change("sessions"), [8, 4], "`sessions` must be ascending integers above 1"),
    (change("sessions"), [1], "`sessions` must be ascending integers above 1"),
    (change("sessions"), 8, "`sessions` must be an array"),
    (change("state"), "hidden", "`state` must be 'external' or 'internal'"),
    (change("state"), "internal", "`states` must be empty"),
    (change("frames", 0, "name"), "", r"`frames\[0\].name` must be a non-empty string"),
    (change("frames", 0, "shape"), [0], r"`frames\[0\].shape` must be an array of whole numbers"),
    (
        change("frames", 0, "shape"),
        [2**31],
        r"`frames\[0\].shape` must be an array of whole numbers",
    ),
    (change("frames", 0, "shape"), [True], r"`frames\[0\].shape` must be an array of whole"),
    (change("frames", 0, "shape"), 3, r"`frames\[0\].shape` must be an array"),
    (change("frames", 0, "shape"), [], "`golden.frames.frame.shape` must be"),
    (change("frames", 0, "dtype"), "float64", r"`frames\[0\].dtype` must be 'float32' or 'int32'"),
    (
        change("frames", 0, "dtype"),
        "int32",
        "`frames` must be float32 of one axis or more, or an int32",
    ),
    (change("frames", 0, "scale"), 0.0, r"`frames\[0\].scale` must be above zero"),
    (change("frames", 0, "scale"), "1", r"`frames\[0\].scale` must be a finite number"),
    (change("frames", 0, "zero_point"), 0.5, r"`frames\[0\].zero_point` must be a whole number"),
    (
        change("frames", 0, "vocabulary"),
        0,
        r"`frames\[0\].vocabulary` must be a whole number of at least 1",
    ),
    (change("frames", 0, "vocabulary"), 9, "tokens of the vocabulary"),
    (change("outputs", 0, "shape"), [3], "`golden.outputs.output.shape` must be"),
    (change("states"), {}, "`states` must be an array"),
    (change("states"), [7], r"`states\[0\]` must be an object, got 7"),
    (change("states", 1, "name"), "lstm_h", "`frames` must be of different names"),
    (change("states", 1, "name"), "frame", "`frames` must be of different names"),
    (change("states", 1, "dtype"), "int32", "so must be the states"),
    (change("labels"), ["yes"], "`labels` must be 2 names"),
    (change("labels"), "ab", "`labels` must be an array"),
    (change("labels"), [1, 2], "`labels` must be an array of strings"),
    (change("sample_period_s"), 0, "`sample_period_s` must be above zero"),
    (change("sample_period_s"), -1.0, "`sample_period_s` must be a finite number, not negative"),
    (change("sample_period_s"), True, "`sample_period_s` must be a finite number"),
    (change("sample_period_s"), 10**400, "`sample_period_s` must be a finite number"),
    (change("model", "sha256"), "a" * 63, "`model.sha256` must be 64 hex digits"),
    (change("model", "sha256"), "G" * 64, "`model.sha256` must be 64 hex digits"),
    (change("model", "parameters"), -1, "`model.parameters` must be a whole number"),
    (change("tools"), {"keras": 3}, "`tools.keras` must be a non-empty string"),
    (change("golden", "tolerance"), float("nan"), "`golden.tolerance` must be a finite number"),
    (change("golden", "tolerance"), float("inf"), "`golden.tolerance` must be a finite number"),
    (
        change("golden", "frames", "frame", "base64"),
        "====",
        "`golden.frames.frame.base64` must be base64",
    ),
    (
        change("golden", "frames", "frame", "base64"),
        "\u00e9",
        "`golden.frames.frame.base64` must be base64",
    ),
    (change("golden", "frames", "frame", "base64"), "AAAA", "must be 18 numbers of float32"),
    (change("golden", "frames", "frame", "shape"), [7, 3], "must be 21 numbers of float32"),
    (change("golden", "frames", "frame", "shape"), [2**31 - 1, 3], "numbers of float32"),
    (change("golden", "frames", "frame", "shape"), [24], r"must be \[n, 3\]"),
    (change("golden", "frames", "frame", "base64"), "AADAfwAA" * 12, "must be finite numbers"),
    (change("file_sha256"), None, "`file_sha256` must be a non-empty string"),
    (change("format_version"), 2, "has format 2, this version reads 1: update kgated-edge"),
    (change("format_version"), 1.0, "`format_version` must be a whole number of at least 1"),
    (change("format_version"), 0, "`format_version` must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("put", "value", "message"), DEFECTS)
def test_the_error_names_the_defective_field(document, put, value, message):
    put(document, value)
    with pytest.raises(ManifestError, match=message) as caught:
        parse_manifest(json.dumps(document))
    assert "\n" not in str(caught.value)


def paths(document, prefix=()):
    """The place of every field of an object, those of objects in arrays too."""
    if isinstance(document, list):
        for n, value in enumerate(document):
            yield from paths(value, (*prefix, n))
    if isinstance(document, dict):
        for key, value in document.items():
            yield (*prefix, key)
            if key not in ("recipe", "tools"):
                yield from paths(value, (*prefix, key))


def test_names_the_field_that_is_missing(document):
    places = list(paths(document))
    assert len(places) > 50
    for place in places:
        broken = copy.deepcopy(document)
        inner = broken
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]
        name = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)[1:]
        with pytest.raises(ManifestError, match=f"`{re.escape(name)}` is missing"):
            parse_manifest(json.dumps(broken))


def test_golden_arrays_of_different_lengths(document):
    golden = document["golden"]
    more = 8  # than the frames make steps
    numbers = base64.b64encode(np.zeros((more, 2), np.float32).tobytes()).decode()
    golden["outputs"]["output"] = {"shape": [more, 2], "base64": numbers}
    with pytest.raises(ManifestError, match=r"`golden\.outputs` must be one per step"):
        parse_manifest(json.dumps(document))


def test_a_golden_token_outside_the_vocabulary(text):
    document = parse(text.read_bytes())
    document["frames"][0]["vocabulary"] = 4
    with pytest.raises(ManifestError, match=r"`golden.frames.frame.base64` must be .* vocabulary"):
        parse_manifest(json.dumps(document))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":1' + b"1" * 5000 + b"}", "{}", "[]", "null"]
)
def test_what_is_not_a_manifest(text):
    with pytest.raises(ManifestError, match="manifest"):
        parse_manifest(text)


def test_damaged_manifests_end_in_one_clear_error(document):
    """The digest does not help here: any value of any field may be anything."""
    chance = random.Random(6)
    junk = [None, True, 0, -1, 2**63, 1.5, 1e308, "", "x", [], [[]], {}, {"shape": 1}, "\ud800"]
    places, refused = list(paths(document)), 0
    for _ in range(MUTATIONS):
        broken = copy.deepcopy(document)
        change(*chance.choice(places))(broken, chance.choice(junk))
        try:
            parse_manifest(json.dumps(broken))
        except ManifestError:
            refused += 1
    assert refused > MUTATIONS // 2


def test_a_truncated_or_changed_text_is_refused(document):
    chance, text = random.Random(7), json.dumps(document).encode()
    for _ in range(MUTATIONS):
        changed = bytearray(text[: chance.randrange(len(text))])
        with pytest.raises(ManifestError):
            parse_manifest(bytes(changed))
