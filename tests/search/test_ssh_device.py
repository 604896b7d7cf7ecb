"""A device over ssh, with replacements of `ssh` and `scp` that run on this machine."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from kgated.data import pad, save_npz
from kgated.search.measurement import device as measurement
from kgated.search.measurement.device import DeviceError, LocalDevice, SshDevice, open_device
from kgated.search.measurement.files import Budget
from kgated.search.options import SearchOptions
from kgated.search.run import search_models
from kgated.study.edge_check import Limits

FIXTURES = Path(__file__).parents[1] / "edge" / "fixtures"
LIMITS = Limits(10.0, 10**6, 0.0)
SSH = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift
echo "$1" >> "$LOG"
[ "$1" = "pi@away" ] && { echo "connect to host away port 22: No route to host" >&2; exit 255; }
shift
PATH="$BOARD:$PATH" exec sh -c "$*"
"""
SCP = """#!/bin/sh
for last; do previous="$source"; source="$last"; done
cp "$previous" "${source#*:}"
"""


@pytest.fixture
def board(tmp_path, monkeypatch):
    """The folder of the commands of the board that `pi@board` is, with `kgated-edge`."""
    tools, folder = tmp_path / "tools", tmp_path / "board"
    runner = f'#!/bin/sh\nexec "{sys.executable}" -m kgated_edge "$@"\n'
    for path, text in (
        (tools / "ssh", SSH),
        (tools / "scp", SCP),
        (folder / "kgated-edge", runner),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for name, value in (
        ("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}"),
        ("BOARD", str(folder)),
        ("LOG", str(tmp_path / "log")),
        ("TMPDIR", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def spoken(tmp_path):
    """A data set of one sequence for `speech`."""
    path, frames = tmp_path / "spoken.npz", np.load(FIXTURES / "speech.npz")["frames"]
    np.savez(path, x=frames[None], y=np.zeros(1, np.int64))
    return path


def copies(folder):
    return [path for path in folder.iterdir() if path.name.startswith("kgated-search.")]


def test_a_file_is_copied_run_and_measured_and_nothing_is_left_behind(board, tmp_path):
    data = tmp_path / "it's $HOME; data.npz"
    frames = np.load(FIXTURES / "speech.npz")["frames"]
    np.savez(data, x=frames[None], y=np.zeros(1, np.int64))
    device = open_device("pi@board")
    (folder,) = copies(tmp_path)
    checked = device.check(FIXTURES / "speech.tflite", data, LIMITS)
    assert [path.name for path in folder.iterdir()] == [data.name]
    local = LocalDevice().check(FIXTURES / "speech.tflite", data, LIMITS)
    assert checked.accuracy == local.accuracy
    assert 0.0 < checked.latency.us_p50 <= checked.latency.us_p99
    device.close()
    assert not copies(tmp_path)
    assert set((tmp_path / "log").read_text().split()) == {"pi@board"}


def test_a_host_that_can_t_be_reached_is_named(board):
    with pytest.raises(DeviceError, match=r"pi@away can't be reached by ssh.*No route to host"):
        SshDevice("pi@away")


def test_a_search_for_a_host_that_can_t_be_reached_makes_no_folder(board, tmp_path, rng):
    save_npz(tmp_path / "data.npz", pad([rng.normal(size=(4, 3)) for _ in range(20)], [0, 1] * 10))
    options = SearchOptions(Budget(64.0), device="pi@away")
    with pytest.raises(DeviceError, match="pi@away can't be reached"):
        search_models(tmp_path / "data.npz", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_a_host_without_the_runner_is_named_with_the_remedy(board):
    with pytest.raises(DeviceError, match=r"no command 'edge-runner'.*pip install kgated-edge"):
        SshDevice("pi@board", "edge-runner")


def test_a_file_that_the_runner_refuses_is_reported_with_its_message(board, tmp_path):
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"no model")
    device = SshDevice("pi@board")
    with pytest.raises(RuntimeError, match="pi@board: `kgated-edge` failed: kgated-edge: error"):
        device.check(bad, FIXTURES / "speech.npz", LIMITS)


def test_a_machine_without_ssh_is_told_what_to_install(board, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="install OpenSSH's client"):
        SshDevice("pi@board")


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "pi board", "pi@", "a;b", "pi@-x"])
def test_what_is_no_host_is_refused_before_ssh_runs(host):
    with pytest.raises(ValueError, match="--device must be `local` or a host"):
        open_device(host)


REPLACED = """#!/bin/sh
while [ "$1" != "--" ]; do shift; done
shift; shift
case "$*" in
*{word}*) {answer};;
*) PATH="$BOARD:$PATH" exec sh -c "$*";;
esac
"""


def replace_answer(tools, word, answer):
    """Let commands with a word in them be answered by other commands."""
    (tools / "ssh").write_text(REPLACED.format(word=word, answer=answer))


@pytest.mark.parametrize("answer", ["true", "echo Welcome; echo kgated-edge 0.1.0", "echo bash 5"])
def test_what_does_not_answer_as_the_runner_is_refused(board, tmp_path, answer):
    replace_answer(tmp_path / "tools", "--version", answer)
    with pytest.raises(DeviceError, match=r"`kgated-edge --version` answered .* print nothing"):
        SshDevice("pi@board")
    assert not copies(tmp_path)


def test_an_answer_that_is_no_text_is_refused(board, tmp_path):
    replace_answer(tmp_path / "tools", "--version", "printf '\\377\\376'")
    with pytest.raises(DeviceError, match="answered '\ufffd\ufffd'"):
        SshDevice("pi@board")


@pytest.mark.parametrize("answer", ["echo '{}'", "echo no report", "false", "echo '[]'"])
def test_a_report_that_can_t_be_read_is_no_refusal_of_the_file(board, tmp_path, answer, spoken):
    device = SshDevice("pi@board")
    replace_answer(tmp_path / "tools", "check.json", answer)
    with pytest.raises(DeviceError, match=r"pi@board: (the report of|`kgated-edge`|`cat`)"):
        device.check(FIXTURES / "speech.tflite", spoken, LIMITS)
    device.close()


def test_a_device_that_hangs_is_left_after_a_while(board, tmp_path, monkeypatch, spoken):
    device = SshDevice("pi@board")
    monkeypatch.setattr(measurement, "SHORT_S", 0.2)
    replace_answer(tmp_path / "tools", "rm", "exec sleep 60")
    with pytest.raises(DeviceError, match=r"`rm` took longer than 0.2 s: see whether .* hangs"):
        device.check(FIXTURES / "speech.tflite", spoken, LIMITS)
    device.close()  # says nothing of its own


def test_a_full_device_is_not_one_that_can_t_be_reached(board, tmp_path, spoken):
    device = SshDevice("pi@board")
    (tmp_path / "tools" / "scp").write_text("#!/bin/sh\necho scp: disk full >&2\nexit 1\n")
    with pytest.raises(DeviceError, match="pi@board: a file can't be copied there by scp: scp: d"):
        device.check(FIXTURES / "speech.tflite", spoken, LIMITS)
    device.close()
