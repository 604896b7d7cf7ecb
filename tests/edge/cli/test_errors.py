"""The command reports each bad input in one line, with its subject and a remedy."""

import os
from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli import main


def test_bad_model_files(error, speech, npz, tmp_path):
    path, content = tmp_path / "model.tflite", speech.read_bytes()
    cases = [
        (b"", "the file is empty"),
        (b"hello, world", "this is not a TFLite file"),
        (content[: len(content) // 2], "cut short or damaged"),
        (content.replace(b"kgated_manifest", b"other_metadata_"), "convert it with `kgated"),
        (content.replace(b"speech", b"Speech"), "digest does not match"),
    ]
    for bad, reason in cases:
        path.write_bytes(bad)
        for arguments in (("check", path, "--data", npz), ("selftest", path)):
            message = error(*arguments)
            assert message.startswith(f"{path}: ")
            assert reason in message
    missing = tmp_path / "missing.tflite"
    assert error("selftest", missing) == f"{missing}: no such file: check the path"
    assert "this is a directory" in error("selftest", tmp_path)


def test_bad_data(error, speech, text, npz, tmp_path):
    path = tmp_path / "bad.npz"
    x = np.zeros((2, 4, 3), np.float32)
    broken = x.copy()
    broken[1, 2, 0] = np.nan
    cases = [
        ({"z": x}, "no array `x`, only z"),
        ({"x": np.array([None])}, "`x` holds pickled objects"),
        ({"x": x, "lengths": np.array([4, 5])}, "got 5 for sequence 1"),
        ({"x": broken}, "NaN or inf in sequence 1, frame 2"),
        ({"x": x.astype(complex)}, "must be float32 or int32, got complex128"),
        ({"x": x[..., :2]}, "frames of shape (2,) float32 do not fit the model"),
        ({"x": x[..., 0].astype(np.int32)}, "frames of shape () int32 do not fit the model"),
        ({"x": x, "y": np.zeros(2)}, "`y` must have one of the shapes [(2, 2), (2, 4, 2)]"),
        ({"x": x, "y": np.zeros(3, int)}, "`y` must be (N,) labels"),
        ({"x": x, "y": np.array([0, 7])}, "got 7 for sequence 1"),
    ]
    for arrays, reason in cases:
        np.savez(path, **arrays)
        message = error("check", speech, "--data", path)
        assert message.startswith(f"{path}: ")
        assert reason in message
    np.savez(path, x=x)
    assert "no `y`" in error("check", speech, "--data", path, "--min-accuracy", 0.5)
    np.savez(path, x=np.full((1, 2), 5, np.int32))
    assert "tokens must be in 0..4, got 5" in error("check", text, "--data", path)
    path.write_bytes(npz.read_bytes()[:-30])
    assert "not an intact .npz file" in error("check", speech, "--data", path)
    assert "no such file" in error("check", speech, "--data", tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: {check,selftest,realtime,live,"),
        (("explain",), "invalid choice: 'explain'"),
        (("check",), "the following arguments are required: MODEL.tflite, --data"),
        (("check", "m", "--data"), "argument --data: expected one argument"),
        (("check", "m", "--data", "d", "--deadline-ms", "0"), "--deadline-ms: must be above 0"),
        (("check", "m", "--data", "d", "--deadline-ms", "-1"), "--deadline-ms: must be above 0"),
        (("check", "m", "--data", "d", "--deadline-ms", "nan"), "--deadline-ms: must be above 0"),
        (("check", "m", "--data", "d", "--deadline-ms", "inf"), "--deadline-ms: must be above 0"),
        (("check", "m", "--data", "d", "--deadline-ms", "1O"), "must be a number, got '1O'"),
        (("check", "m", "--data", "d", "--min-accuracy", "90"), "--min-accuracy: must be in 0..1"),
        (("check", "m", "--data", "d", "--min-accuracy", "nan"), "must be in 0..1, got nan"),
        (("check", "m", "--data", "d", "--max-misses", "-1"), "--max-misses: must be a whole"),
        (("check", "m", "--data", "d", "--threads", "0"), "must be a whole number from 1, got '0'"),
        (("check", "m", "--data", "d", "--threads", "1.5"), "must be a whole number from 1"),
        (("check", "m", "--data", "d", "--threads", "9" * 30), "must be a whole number from 1"),
        (("check", "m", "--data", "d", "--deadline", "5"), "unrecognized arguments: --deadline 5"),
        (("selftest", "m", "more\nlines"), "unrecognized arguments: more lines"),
    ],
)
def test_bad_arguments(error, arguments, message):
    text = error(*arguments)
    assert message in text
    assert "--help" in text


def test_a_model_of_numbers_takes_no_text(error, speech):
    for arguments in (("encode", speech, "go"), ("generate", speech, "--prompt", "go")):
        assert "the model takes no text" in error(*arguments)


def test_output_that_cannot_be_written(error, speech, npz, tmp_path, monkeypatch):
    def no_run(*_, **__):
        raise AssertionError("the run began before the output was looked at")

    monkeypatch.setattr(main, "check", no_run)
    plain = tmp_path / "plain"
    plain.write_text("kept")
    before = speech.read_bytes()
    link = tmp_path / "link.tflite"
    link.symlink_to(speech)
    limits = tmp_path / "limits.toml"
    limits.write_text("deadline_ms = 10")
    cases = [
        (limits, "this is an input of the run"),
        (tmp_path / "missing" / "out.json", "name a file in a folder that exists"),
        (plain / "out.json", "cannot be written"),
        (tmp_path, "cannot be overwritten"),
        ("/dev/null", "cannot be overwritten"),
        ("", "cannot be overwritten"),
        ("a\0b", "cannot be written"),
        ("x" * 300, "cannot be written"),
        (speech, "this is an input of the run"),
        (npz, "this is an input of the run"),
        (link, "this is an input of the run"),
    ]
    for path, reason in cases:
        message = error("check", speech, "--data", npz, "--limits", limits, "--json", path)
        assert message.startswith(f"{path}: ")
        assert reason in message
    assert speech.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["data.npz", "limits.toml", "link.tflite", "plain"]


def test_the_check_before_the_run_can_pass(speech, npz, tmp_path, monkeypatch):
    def no_run(*_, **__):
        raise AssertionError("ran")

    monkeypatch.setattr(main, "check", no_run)
    with pytest.raises(AssertionError, match="ran"):
        main.main(["check", str(speech), "--data", str(npz), "--json", str(tmp_path / "o.json")])
    assert os.listdir(tmp_path) == ["data.npz"]


def test_an_error_leaves_the_old_result(error, speech, tmp_path):
    report = tmp_path / "result.json"
    report.write_text("old")
    error("check", speech, "--data", tmp_path / "missing.npz", "--json", report)
    error("selftest", tmp_path / "missing.tflite", "--json", report)
    assert report.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        SystemError("error return without exception set"),
        RuntimeError("can't allocate read lock"),
        TypeError("expected str, bytes or os.PathLike object, not PosixPath"),
    ],
)
def test_out_of_memory_is_one_line(cause, error, speech, npz, monkeypatch):
    def exhausted(*_, **__):
        raise cause

    monkeypatch.setattr(main, "check", exhausted)
    assert "out of memory" in error("check", speech, "--data", npz)


def test_an_error_after_the_temporary_file_was_made_removes_it(
    error, speech, tmp_path, monkeypatch
):
    create = Path.touch

    def exhausted(path, **options):
        create(path, **options)
        raise MemoryError

    monkeypatch.setattr(Path, "touch", exhausted)
    assert "out of memory" in error("selftest", speech, "--json", tmp_path / "result.json")
    assert not list(tmp_path.iterdir())
