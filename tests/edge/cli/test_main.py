"""The command: its exit codes, what it prints, what it writes."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from kgated_edge.cli import main, signals
from kgated_edge.cli.text import confusion_lines


def rows(out):
    return dict(line.split("  ", 1) for line in out.splitlines() if "  " in line)


def test_check_passes(command, speech, npz, tmp_path):
    report = tmp_path / "result.json"
    limits = ("--deadline-ms", 1000, "--min-accuracy", 1, "--json", report)
    code, out, _ = command("check", speech, "--data", npz, *limits)
    assert code == 0
    assert out.endswith("\nPASS\n")
    values = {name.strip(): value.strip() for name, value in rows(out).items()}
    assert values["accuracy"] == "1.0000 (at least 1)"
    assert values["deadline"].startswith("1000 ms, 0 of ")
    assert values["real-time factor"].endswith("of a sample period of 10 ms")
    table, _, matrix = out.partition("confusion, a row per label, a column per decision\n")
    assert len({len(line) - len(line.split("  ")[-1].strip()) for line in table.splitlines()}) == 1
    head, *lines, _ = (line.split() for line in matrix.splitlines())
    assert head == ["0", "1"]
    assert [line[:2] for line in lines] == [["0", "yes"], ["1", "no"]]
    counts = [[int(n.replace(".", "0")) for n in line[2:]] for line in lines]
    assert counts == json.loads(report.read_text())["quality"]["confusion"]
    result = json.loads(report.read_text())
    assert result["passed"] is True
    assert result["failures"] == []
    assert result["accuracy"] == 1.0
    assert result["model"] == str(speech)
    assert result["data"] == str(npz)
    assert result["latency_us_p50"] <= result["latency_us_p99"] <= result["latency_us_max"]
    assert sum(result["latency_histogram"]["counts"]) == result["steps"]
    assert sorted(os.listdir(tmp_path)) == ["data.npz", "result.json"]


def test_check_fails_with_reasons(command, speech, npz, tmp_path):
    with np.load(npz) as arrays:
        changed = {**arrays, "y": 1 - arrays["y"]}
    np.savez(npz, **changed)
    report = tmp_path / "result.json"
    limits = ("--deadline-ms", 1e-6, "--min-accuracy", 0.5, "--json", report)
    code, out, _ = command("check", speech, "--data", npz, *limits)
    assert code == 1
    reasons = out.splitlines()[-2:]
    assert reasons[0] == "FAIL: accuracy is 0.0000, at least 0.5 is required"
    assert reasons[1].endswith("steps took longer than 1e-06 ms, allowed are 0")
    result = json.loads(report.read_text())
    assert result["passed"] is False
    assert len(result["failures"]) == 2
    assert command("check", speech, "--data", npz, *limits[:2], "--max-misses", 60)[0] == 0


def test_check_without_limits_labels_or_period(command, text, tmp_path):
    path = tmp_path / "tokens.npz"
    np.savez(path, x=np.ones((2, 3), np.int32))
    code, out, _ = command("check", text, "--data", path, "--threads", 2)
    values = {name.strip(): value.strip() for name, value in rows(out).items()}
    assert code == 0
    assert values["accuracy"] == values["deadline"] == "-"
    assert values["real-time factor"] == "- (the model has no sample period)"
    assert values["threads"] == "2"


def test_selftest(command, speech, edit, tmp_path):
    report = tmp_path / "result.json"
    code, out, _ = command("selftest", speech, "--json", report)
    assert code == 0
    assert out.endswith("\nPASS\n")
    assert json.loads(report.read_text())["golden_frames"] == 6
    start = speech.read_bytes().index(b'"tolerance":') + len(b'"tolerance":')
    strict = edit(speech, b'"tolerance":1e-05', b'"tolerance":1e-15')
    assert start > 0
    code, out, _ = command("selftest", strict, "--json", report)
    assert code == 1
    assert "FAIL: golden outputs differ by " in out
    assert json.loads(report.read_text())["passed"] is False


def test_a_new_result_replaces_the_old_one(command, speech, tmp_path):
    report, target = tmp_path / "result.json", tmp_path / "target.json"
    target.write_text("old" * 10_000)
    report.symlink_to(target)
    assert command("selftest", speech, "--json", report)[0] == 0
    assert report.is_symlink()
    assert json.loads(target.read_text())["passed"] is True


def test_numbers_that_json_does_not_know(tmp_path):
    from kgated_edge.cli.output import to_json

    assert json.loads(to_json({"a": float("nan"), "b": (1.0, float("inf"))})) == {
        "a": None,
        "b": [1.0, None],
    }


def test_options_may_be_between_the_arguments(command, speech, frames, tmp_path):
    path = tmp_path / "frames.csv"
    np.savetxt(path, frames, delimiter=",", header="a,b,c", comments="")
    code, out, _ = command("live", speech, "--columns", "c,b,a", path)
    assert (code, len(out.splitlines())) == (0, len(frames))
    assert command("live", "--every", 4, speech, path)[1].count("\n") == len(frames) // 4


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == "kgated-edge 0.1.0\n"


@pytest.mark.parametrize("program", [[sys.executable, "-m", "kgated_edge"], ["kgated-edge"]])
def test_the_command_runs_as_a_process(program, speech, tmp_path):
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}

    def run(*arguments):
        command = [*program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.returncode, done.stdout, done.stderr

    code, out, _ = run("selftest", speech)
    assert (code, out.splitlines()[-1]) == (0, "PASS")
    code, out, err = run("selftest", tmp_path / "missing.tflite")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_standard_output_that_is_full(speech):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kgated_edge", "selftest", speech],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert (done.returncode, len(lines)) == (2, 1)
    assert lines[0].startswith("kgated-edge: error: ")


def test_standard_output_that_is_closed(speech):
    command = ["sh", "-c", 'exec "$0" -m kgated_edge selftest "$1" >&-', sys.executable, speech]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_a_signal_that_follows_at_once_takes_nothing_away(monkeypatch):
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    with signals.ended_by_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        now = time.monotonic()
        monkeypatch.setattr(signals, "monotonic", lambda: now + 2)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupt_is_quiet(speech, tmp_path):
    path, report = tmp_path / "long.npz", tmp_path / "result.json"
    np.savez(path, x=np.zeros((4000, 1000, 3), np.float32))
    command = [sys.executable, "-m", "kgated_edge", "check", speech, "--data", path]
    process = subprocess.Popen(
        [*command, "--json", report], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and len(os.listdir(tmp_path)) < 2:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert [line for line in err.splitlines() if not line.startswith("INFO")] == []
    assert os.listdir(tmp_path) == ["long.npz"]


def test_many_classes_are_told_by_their_mistakes():
    counts = np.diag(np.full(40, 7))
    counts[3, 5], counts[9, 2], counts[2, 9] = 4, 6, 6
    lines = confusion_lines(counts.tolist(), None)
    assert lines[0] == "most frequent mistakes, 3 of 3 kinds"
    assert [line.strip() for line in lines[1:]] == [
        *("2 taken for 9: 6", "9 taken for 2: 6", "3 taken for 5: 4"),
    ]
    names = [f"a word of many letters {k}" for k in range(40)]
    assert max(map(len, confusion_lines(counts.tolist(), names))) < 70
