"""Frames out of pipes and files; what ends a live run, and what it leaves."""

import io
import json
import signal
import struct
import subprocess
import sys
import wave
from dataclasses import replace

import numpy as np
import pytest
from kgated_edge import EdgeError, EdgeModel, LogMel, live_blocks, read_manifest
from kgated_edge.ingest.result_lines import is_classifier
from kgated_edge.ingest.runner import StreamingHistogram


@pytest.fixture
def frames(rng):
    return rng.normal(size=(9, 3)).astype(np.float32)


@pytest.fixture
def live(capfd, monkeypatch):
    """(bytes on standard input, arguments) -> (exit code, lines, stderr)"""
    from kgated_edge.cli import main

    def run(content, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        code = main.main(["live", *map(str, arguments)])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def start(*arguments):
    command = [sys.executable, "-m", "kgated_edge", "live", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes)


def outputs(lines):
    return np.array([line["outputs"]["output"] for line in lines], np.float32)


def test_raw_frames(live, speech, frames, tmp_path):
    expected, report = EdgeModel(speech).run(frames), tmp_path / "r.json"
    code, lines, err = live(frames.tobytes() + b"abc", speech, "--json", report)
    assert code == 0
    assert np.array_equal(outputs(lines), expected)
    assert [line["step"] for line in lines] == list(range(1, 10))
    assert [line["time_s"] for line in lines][-1] == 0.09
    assert [line["decision"] for line in lines] == expected.argmax(-1).tolist()
    assert {line["label"] for line in lines} <= {"yes", "no"}
    assert "ended              end of input\nsteps run          9\n" in err
    result = json.loads(report.read_text())
    assert (result["steps"], result["ended"], result["input"]) == (9, "end of input", "-")
    assert 0 < result["compute_us_p50"] <= result["compute_us_p99"] <= result["compute_us_max"]


def test_csv_frames_and_files(live, speech, frames, tmp_path):
    text = "\n".join(",".join(map(str, row)) for row in frames.tolist())
    path = tmp_path / "frames.CSV"
    path.write_text(text.replace(",", " , "))
    expected = EdgeModel(speech).run(frames)
    for arguments in ((speech, path), (speech, "-", "--format", "csv")):
        _, lines, _ = live(text.encode(), *arguments)
        assert np.array_equal(outputs(lines), expected)


def test_live_reads_tokens(live, text):
    expected = EdgeModel(text).run(np.array([1, 4, 0], np.int32))
    _, lines, _ = live(b"1\n4\n0\n", text, "--format", "csv")
    assert np.array_equal(outputs(lines), expected)
    _, lines, _ = live(struct.pack("<3i", 1, 4, 0), text)
    assert np.array_equal(outputs(lines), expected)
    assert "time_s" not in lines[0]
    assert "label" not in lines[0]


def test_integers_of_a_quantized_model_take_floats(live, fixture_file, frames):
    expected = EdgeModel(fixture_file("int8")).run(frames)
    _, lines, _ = live(frames.tobytes(), fixture_file("int8"))
    assert np.array_equal(outputs(lines), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3\n1,2\n", r"after 1 steps: line 2 must hold 3 numbers of float32, got '1,2\n'"),
        (b"1,2,x\n", "after 0 steps: line 1 must hold 3 numbers"),
        (b"\xff\xfe\n", "line 1 is not text in UTF-8"),
        (b"1,2,3\n1,nan,3\n", "after 1 steps: a frame must be finite, got nan at (1,)"),
        (b"1,2,1e99\n", "a frame must be finite, got inf"),
    ],
)
def test_bad_lines(live, speech, content, message):
    code, lines, err = live(content, speech, "--format", "csv")
    assert code == 2
    assert len(lines) == message.count("after 1")
    summary, _, error = err.partition("kgated-edge: error: ")
    assert message.encode("unicode_escape").decode() in error or message in error
    # The summary stands before it, whatever has been done by then.
    assert f"ended              refused\nsteps run          {len(lines)}\n" in summary


def test_a_refused_frame_is_in_the_json(live, speech, tmp_path):
    report = tmp_path / "r.json"
    live(b"1,2,3\n1,nan,3\n", speech, "--format", "csv", "--json", report)
    result = json.loads(report.read_text())
    assert (result["steps"], result["ended"]) == (1, "refused")
    assert result["error"].startswith("after 1 steps: a frame must be finite")


def test_numbers_are_no_decision(live, speech, text, fixture_file):
    keys = {"step", "time_s", "outputs"}
    _, (line,), _ = live(b"1,2,3\n", speech, "--format", "csv", "--task", "numbers")
    assert set(line) == keys
    # Without labels, probabilities are a decision; two numbers from -1 to 1 are none.
    _, (line,), _ = live(b"3\n", text, "--format", "csv")
    assert set(line) == {"step", "decision", "outputs"}
    manifest = read_manifest(fixture_file("blocks"))
    first = manifest.outputs[0]
    assert is_classifier(manifest, None)
    golden = {first.name: manifest.golden.outputs[first.name] - 1}
    unnamed = replace(manifest, labels=None)
    assert is_classifier(unnamed, None)
    numbers = replace(unnamed, golden=replace(manifest.golden, outputs=golden))
    assert not is_classifier(numbers, None)
    assert is_classifier(numbers, "classes")
    assert is_classifier(replace(numbers, figures={"accuracy": 0.9}), None)
    with pytest.raises(EdgeError, match=r"`task` must be one of .* got 'text'"):
        is_classifier(numbers, "text")
    scalar_output = replace(numbers, outputs=(replace(first, shape=(1,)),))
    with pytest.raises(EdgeError, match=r"the first output has the shape \(1,\)"):
        is_classifier(scalar_output, "classes")


def test_bad_frames_held(live, speech):
    content = b"1,2,3\n1,nan,3\n2,2,2\n"
    arguments = (speech, "--format", "csv", "--on-bad-frame", "hold")
    code, lines, err = live(content, *arguments)
    assert (code, len(lines)) == (0, 3)
    assert "frames held        1\n" in err
    expected = EdgeModel(speech).run(np.array([[1, 2, 3], [1, 2, 3], [2, 2, 2]], np.float32))
    assert np.array_equal(outputs(lines), expected)


def sound_of(rng, seconds=0.1, rate=16000):
    return rng.normal(0, 3000, round(seconds * rate)).astype("<i2")


def wav(samples, rate=16000, channels=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((channels, 2, rate, 0, "NONE", ""))
        sound.writeframes(samples.tobytes())
    return file.getvalue()


def test_live_reads_audio(live, speech, rng, tmp_path):
    samples, path = sound_of(rng), tmp_path / "a.wav"
    path.write_bytes(wav(samples))
    setting = {"mels": 3, "low_hz": 0.0}
    expected = EdgeModel(speech).run(LogMel(**setting)(samples.astype(np.int16)))
    assert len(expected) == 8
    for content, arguments in (
        (b"", (path,)),
        (wav(samples), ("-", "--format", "wav")),
        (samples.tobytes(), ("-", "--format", "pcm")),
    ):
        code, lines, _ = live(content, speech, *arguments, "--low-hz", 0)
        assert code == 0
        assert np.array_equal(outputs(lines), expected)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda s: b"RIFF", ("--format", "wav"), "not a WAV file"),
        (lambda s: b"", ("--format", "wav"), "not a WAV file"),
        (lambda s: wav(s, rate=8000), ("--format", "wav"), "sample period is 0.01 s: set `hop`"),
        (lambda s: wav(s), ("--format", "wav", "--rate", 8000), "or `rate`, to which the audio"),
        (lambda s: b"", ("--window", "2.0", "--hop", "3.0"), "the hop must be 1 to 200 steps"),
        (lambda s: b"", ("--hop", "0.5"), "--hop in seconds needs --window in seconds"),
        (lambda s: b"", ("--columns", "a"), "--columns and --time-column are for csv"),
        (lambda s: s.tobytes(), ("--format", "pcm", "--hop", 100), "set `hop` as in training"),
        (lambda s: s.tobytes(), ("--format", "pcm", "--window", 9999), "`window` must be"),
        (lambda s: b"", ("--hop", 100), "are for audio, not float32"),
        (lambda s: b"", ("--format", "mp3"), "invalid choice: 'mp3'"),
    ],
)
def test_sound_that_does_not_fit(live, speech, rng, make, arguments, message):
    code, lines, err = live(make(sound_of(rng)), speech, "-", *arguments)
    assert (code, lines) == (2, [])
    assert message in err
    assert err.count("\n") == 1 or "after 0 steps" in err


def test_inputs_that_are_none(live, fixture_file, speech, text, tmp_path):
    for arguments, message in (
        ((speech, tmp_path / "none.csv"), "cannot be read (No such file"),
        ((speech, tmp_path), "cannot be read (Is a directory"),
        ((fixture_file("blocks"),), "this model has ['sound', 'word'] and a batch of 1: run it"),
        ((fixture_file("whole"),), "`kgated-edge check` and `open_model` take both"),
        ((text, "-", "--format", "wav"), "this model takes (): use csv"),
        ((tmp_path / "none.tflite",), "no such file"),
        ((speech, speech, "--json", speech), "this is an input of the run"),
    ):
        code, lines, err = live(b"", *arguments)
        assert (code, lines) == (2, [])
        assert message in err


@pytest.mark.parametrize(("closed", "message"), [("<&-", "input is"), (">&-", "output is")])
def test_a_closed_standard_stream(speech, closed, message):
    command = ["sh", "-c", f'exec "$0" -m kgated_edge live "$1" {closed}', sys.executable, speech]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"kgated-edge: error: standard {message} closed".encode())
    assert done.stderr.count(b"\n") == 1


def test_live_refuses_a_batch(speech):
    manifest = replace(read_manifest(speech), batch=2)
    with pytest.raises(EdgeError, match="a batch of 2: run it from Python"):
        live_blocks(manifest, io.BytesIO(), "float32", None)
    with pytest.raises(EdgeError, match="`form` must be one of"):
        live_blocks(read_manifest(speech), io.BytesIO(), "mp3", None)


def test_blocks_of_frames(fixture_file, speech, frames):
    manifest = replace(read_manifest(speech), frames_per_step=4)
    blocks = list(live_blocks(manifest, io.BytesIO(frames.tobytes()), "float32", None))
    assert np.array_equal(blocks, frames[:8].reshape(2, 4, 3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_the_summary(speech, frames, tmp_path, number):
    report = tmp_path / "r.json"
    process = start(speech, "--json", report)
    process.stdin.write(frames.tobytes())
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in frames]
    process.send_signal(number)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest == b""
    assert b"ended              interrupted\nsteps run          9\n" in err
    assert b"Traceback" not in err
    assert np.array_equal(outputs(lines), EdgeModel(speech).run(frames))
    assert json.loads(report.read_text())["ended"] == "interrupted"


def test_a_broken_pipe_is_no_crash(speech, frames):
    process = start(speech)
    process.stdin.write(frames[:1].tobytes())
    process.stdin.flush()
    process.stdout.readline()
    process.stdout.close()
    process.stdin.write(frames.tobytes())
    process.stdin.close()
    err = process.stderr.read()
    assert process.wait(timeout=60) == 0
    process.stderr.close()
    assert b"ended              reader gone\nsteps run          2\n" in err
    assert b"Traceback" not in err
    assert b"Exception" not in err


def test_results_come_at_once(speech, frames):
    process = start(speech)
    for frame in frames[:3]:
        process.stdin.write(frame.tobytes())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["step"] >= 1
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_histogram_of_any_number_of_times_has_a_fixed_size(rng):
    tally, times = StreamingHistogram(), rng.lognormal(np.log(5000), 1.0, 4000).astype(int)
    for ns in [*times.tolist(), 1, 10**12]:
        tally.add(ns)
    metrics, us = tally.metrics(), np.sort([*times, 1, 10**12]) / 1e3
    for name, quantile in (("p50", 0.5), ("p99", 0.99)):
        exact = us[int(quantile * len(us))]
        assert exact * 0.99 <= metrics[f"compute_us_{name}"] <= exact * 1.13
    assert metrics["compute_us_max"] == 1e9
    assert metrics["compute_us_mean"] == pytest.approx(us.mean())
    assert set(StreamingHistogram().metrics().values()) == {None}
