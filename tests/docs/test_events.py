"""The examples of docs/events.md, in their order: Python and commands."""

import json
import shlex

import keras
import pytest
from documents import blocks, page
from kgated_edge import read_manifest
from kgated_edge.cli import main
from typer.testing import CliRunner

from kgated.demos.motion import write_motion
from kgated_cli.app import app

GUIDE = page("docs/events.md")


def run(line, capfd):
    """Runs a line of the guide; returns what it printed."""
    program, *arguments = shlex.split(line)
    if program == "kgated":
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout
    assert program == "kgated-edge"
    assert main.main(arguments) == 0, capfd.readouterr()
    return capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
def test_from_a_model_to_events(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    first, second = blocks(GUIDE, "python")
    commands, _ = blocks(GUIDE, "sh")
    exec(first, {})
    capfd.readouterr()
    tuned, checked, events = (run(line, capfd) for line in commands.splitlines())
    assert "chosen settings, on the same recordings" in tuned
    assert list(read_manifest("gesture.tflite").events.classes) == ["left", "right"]
    assert checked.endswith("PASS\n")
    lines = [json.loads(line) for line in events.splitlines()]
    assert len(lines) > 20
    (example,) = blocks(GUIDE, "json")
    assert list(json.loads(example)) == list(lines[0])
    exec(second, {})
    printed = capfd.readouterr().out.splitlines()
    # The event open at the end is written by the command alone.
    assert len(lines) - len(printed) in (0, 1)
    assert printed[0].startswith(f"{lines[0]['label']} at {lines[0]['start']} s")


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs minutes elsewhere")
def test_from_recordings_with_events_to_a_tuned_file(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_motion(tmp_path, seed=0, scale=0.15)
    (tmp_path / "train").rename("recordings")
    (tmp_path / "train.csv").rename("events.csv")
    _, commands = blocks(GUIDE, "sh")
    for line in commands.splitlines():
        run(line + (" --epochs 2 --units 4" if "train" in line.split() else ""), capfd)
    assert set(read_manifest("motion.tflite").events.classes) == {"badminton", "running", "walking"}


def test_the_demos_in_the_guide_are_tasks_of_the_command():
    (commands,) = blocks(GUIDE, "sh", marked_not_run=True)
    tasks = [shlex.split(line)[3] for line in commands.splitlines()]
    assert tasks == ["motion", "keyword"]
    refusal = CliRunner().invoke(app, ["demo", "--task", "nothing"])
    assert all(repr(task) in str(refusal.exception) for task in tasks)
