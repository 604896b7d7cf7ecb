"""Limits in a file, as the gate of a release."""

import json

import numpy as np
import pytest
from kgated_edge import EdgeError, Limits, read_limits
from kgated_edge.format.reader import parse_manifest, read_manifest


@pytest.fixture
def limits(tmp_path):
    def write(text):
        path = tmp_path / "limits.toml"
        path.write_text(text)
        return path

    return write


def test_every_limit_is_kept_and_missed():
    metrics = {"accuracy": 0.9, "r2": 0.5, "mae": 2.0, "rmse": 3.0, "bits_per_character": 1.5}
    metrics |= {"mae_of_range": 0.2, "rmse_of_range": 0.3}
    metrics |= {"f1_micro": 0.8, "f1_macro": 0.7, "subset_accuracy": 0.6}
    metrics |= {"settled_frames_p90": 12, "latency_us_p99": 8.0, "model_bytes": 1000}
    for name, value in metrics.items():
        lower = name in ("accuracy", "r2", "f1_micro", "f1_macro", "subset_accuracy")
        limit = ("min_" if lower else "max_") + name
        assert Limits(**{limit: value}).failures(metrics, {}) == ()
        (failure,) = Limits(**{limit: value + (0.01 if lower else -0.01)}).failures(metrics, {})
        assert ("at least" if lower else "at most") in failure
        assert "unknown" in Limits(**{limit: value}).failures({}, {})[0]


@pytest.mark.parametrize(
    ("name", "device", "passing", "missed"),
    [("accuracy", 0.9, 0.0101, 0.0099), ("mae", 0.92, 0.0101, 0.0099)],
)
def test_worse_than_float(name, device, passing, missed):
    beside = {name: 0.91}
    assert Limits(worse_than_float={name: passing}).failures({name: device}, beside) == ()
    (failure,) = Limits(worse_than_float={name: missed}).failures({name: device}, beside)
    assert "worse than the float model's 0.9100 by 0.0100" in failure
    better = {name: 2 * 0.91 - device}
    assert Limits(worse_than_float={name: 0}).failures(better, beside) == ()


def test_a_release_gate(command, speech, npz, limits, tmp_path):
    report = tmp_path / "r.json"
    arguments = ("check", speech, "--data", npz, "--json", report, "--limits")
    text = "min_accuracy = 1.0\ndeadline_ms = 10_000\nmax_model_bytes = {}\nmax_misses = 3\n"
    code, out, _ = command(*arguments, limits(text.format(100_000)))
    assert (code, out.splitlines()[-1]) == (0, "PASS")
    assert "accuracy              1.0000 (at least 1)\n" in out
    quality = json.loads(report.read_text())["quality"]
    assert quality["accuracy_over_frames"][-1] == quality["accuracy"] == 1.0
    assert sum(map(sum, quality["confusion"])) == 10
    code, out, _ = command(*arguments, limits(text.format(100)))
    assert code == 1
    assert "FAIL: size of the file in bytes" in out
    # What stands on the command line goes before the file.
    assert command(*arguments, limits("deadline_ms = 1e-6"), "--deadline-ms", 1e4)[0] == 0
    assert command(*arguments, limits("deadline_ms = 1e-6"))[0] == 1


def test_figures_of_the_float_model(command, error, speech, npz, limits, edit):
    gate = limits("[worse_than_float]\naccuracy = 0.05\n")
    assert "the float model, whose manifest holds []" in error(
        "check", speech, "--data", npz, "--limits", gate
    )
    # As many bytes, so that offsets stay: the field stands where the tools did.
    text = read_manifest(speech).to_json()
    start = text.index('"tools":{') + len('"tools":{')
    tools = text[start : text.index("}", start)]
    for accuracy, expected in ((0.97, 0), (1.0, 0), (1.06, 1)):
        figures = f'"figures":{{"accuracy":{accuracy}'
        new = f'"tools":{{}},{figures}'.ljust(len('"tools":{' + tools))
        path = edit(speech, ('"tools":{' + tools).encode(), new.encode())
        code, out, _ = command("check", path, "--data", npz, "--limits", gate)
        assert code == expected
        assert f"1.0000 (float {accuracy:.4f})" in out


def test_figures_in_a_manifest(speech):
    manifest = read_manifest(speech)
    assert manifest.figures == {}
    document = json.loads(manifest.to_json()) | {"figures": {"r2": -1.5}}
    again = parse_manifest(json.dumps(document))
    assert again.figures == {"r2": -1.5}
    assert json.loads(again.to_json()) == document
    with pytest.raises(EdgeError, match=r"`figures.r2` must be a finite number"):
        parse_manifest(json.dumps(document | {"figures": {"r2": "high"}}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_acuracy = 0.9", "`min_acuracy` is not a limit: name some of"),
        ("min_accuracy = 'high'", "`min_accuracy` must be a number, got 'high'"),
        ("min_accuracy = true", "`min_accuracy` must be a number, got True"),
        ("max_mae = nan", "`max_mae` must be finite"),
        ("max_misses = 1.5", "`max_misses` must"),
        ("worse_than_float = 0.1", "`worse_than_float` must be a table"),
        ("[max_mae]\nx = 1", "`worse_than_float` must be a table, and no other"),
        ("[worse_than_float]\nspeed = 0.1", "must name some of"),
        ("[worse_than_float]\nmae = '1'", "`worse_than_float.mae` must be a number"),
        ("= 3", "limits cannot be read from it"),
        ("max_misses = 0", "`max_misses` needs a deadline: give `deadline_ms`"),
        ("max_mae = 1", "a limit is on mae, this run has"),
    ],
)
def test_bad_limits(error, speech, npz, limits, text, message):
    path = limits(text)
    assert message in error("check", speech, "--data", npz, "--limits", path)


def test_limits_that_cannot_be_read(tmp_path):
    with pytest.raises(EdgeError, match="No such file"):
        read_limits(tmp_path / "missing.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(EdgeError, match="limits cannot be read"):
        read_limits(tmp_path / "bytes.toml")


def test_a_limit_without_labels(error, speech, tmp_path, limits):
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4, 3), np.float32))
    arguments = ("check", speech, "--data", tmp_path / "x.npz", "--limits")
    assert "no `y` to compute accuracy from" in error(*arguments, limits("min_accuracy = 0.5"))
