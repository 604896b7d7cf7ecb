"""A closed pipe, as of `| head -1`, ends a command without a message."""

import pytest
from closed_pipes import run_into_closed_pipe
from kgated_edge.cli.closed_pipe import CLOSED_PIPE


@pytest.mark.parametrize("unbuffered", [False, True])
def test_results_into_a_closed_pipe_end_the_command_quietly(speech, npz, tmp_path, unbuffered):
    report = tmp_path / "result.json"
    arguments = ("check", speech, "--data", npz, "--json", report)
    done = run_into_closed_pipe("stdout", *arguments, unbuffered=unbuffered)
    assert done.returncode == CLOSED_PIPE
    assert "roken pipe" not in done.stderr
    assert "Traceback" not in done.stderr
    assert report.stat().st_size > 0


def test_help_into_a_closed_pipe_ends_quietly():
    done = run_into_closed_pipe("stdout", "check", "--help")
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_an_error_without_a_reader_keeps_its_exit_code(tmp_path):
    done = run_into_closed_pipe("stderr", "selftest", tmp_path / "missing.tflite")
    assert (done.returncode, done.stdout) == (2, "")
