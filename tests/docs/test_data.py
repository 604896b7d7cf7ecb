"""The guide to data: four commands from a folder of files to `check`, without Python."""

import json
import re
import shlex
import wave
from pathlib import Path

import keras
import numpy as np
import pytest
from documented_commands import run_commands
from documents import blocks, page
from kgated_edge.cli.main import main as edge
from typer.testing import CliRunner

from kgated_cli.app import app

GUIDE = page("docs/data.md")
QUICK = ["--epochs", "12", "--units", "8", "--learning-rate", "0.02", "--quiet"]


def commands(name, kind="commands"):
    """The commands of the block that is marked by a kind and a name."""
    block = re.search(rf"<!-- {kind}: {name} -->\n```sh\n(.*?)```", GUIDE, re.DOTALL).group(1)
    return [shlex.split(line) for line in block.splitlines()]


def run(words):
    if words[0] == "kgated-edge":
        assert edge(words[1:]) == 0
        return
    more = QUICK if words[1] == "train" else []
    done = CliRunner().invoke(app, [*words[1:], *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def write_sensors(folder, rng, count=200):
    """Recordings of ten persons as CSV files."""
    times = np.arange(20) / 50
    for n in range(count):
        label, hz = (("rest", 0.0), ("run", 4.0), ("walk", 2.0))[n % 3]
        waves = np.sin(2 * np.pi * (hz * times[:, None] + rng.random(3)))
        rows = 2 * np.eye(3)[n % 3] + (hz > 0) * waves + rng.normal(0, 0.1, (20, 3))
        lines = ["time,ax,ay,az"]
        lines += [
            ",".join(f"{v:.4f}" for v in (t, *row)) for t, row in zip(times, rows, strict=True)
        ]
        path = folder / label / f"p{n // 3 % 10}_{n:03d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def write_sounds(folder, rng, count=200):
    """Recordings of tones in noise as WAV files."""
    for n in range(count):
        label, hz = (("bell", 1800), ("hum", 200))[n % 2]
        path = folder / label / f"{n:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, tone_in_noise(hz, 2400, rng))


def tone_in_noise(hz, samples, rng):
    time = np.arange(samples) / 16000
    tone = 6000 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time)
    return tone + rng.normal(0, 500, samples)


def write_wav(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def write_new(name, rng):
    """A longer recording: new.wav of a bell and a hum, or new.csv of running and rest."""
    if name == "wav":
        write_wav("new.wav", np.concatenate([tone_in_noise(hz, 8000, rng) for hz in (1800, 200)]))
        return
    times = np.arange(100) / 50
    waves = np.sin(2 * np.pi * (4.0 * times[:, None] + rng.random(3)))
    rows = np.concatenate([2 * np.eye(3)[1] + waves, 2 * np.eye(3)[0] + np.zeros((100, 3))])
    lines = [f"{n / 50:.2f}," + ",".join(f"{v:.4f}" for v in row) for n, row in enumerate(rows)]
    Path("new.csv").write_text("\n".join(["time,ax,ay,az", *lines]))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converts")
@pytest.mark.parametrize(
    ("name", "write", "folder"),
    [("csv", write_sensors, "recordings"), ("wav", write_sounds, "sounds")],
)
def test_four_commands_lead_from_files_to_check(
    name, write, folder, rng, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / folder, rng)
    lines = commands(name)
    assert len(lines) <= 4
    assert lines[-1][:2] == ["kgated-edge", "check"]
    for words in lines:
        run(words)
    accuracy = re.search(r"accuracy +([0-9.]+)", capsys.readouterr().out).group(1)
    assert float(accuracy) > 0.8
    if name == "wav":
        run([*lines[-1][:-1], folder])
        capsys.readouterr()
    write_new(name, rng)
    (line,) = commands(name, "events")
    run(line)
    events = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    labels = [event["label"] for event in events]
    expected = {"csv": ("run", "rest"), "wav": ("bell", "hum")}[name]
    assert [labels[0], labels[-1]] == list(expected)


def test_the_example_in_python_runs(rng, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_sensors(tmp_path / "recordings", rng)
    (code,) = blocks(GUIDE, "python")
    exec(code, {})
    assert capsys.readouterr().out.endswith("('rest', 'run', 'walk') 0.02\n")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="trains; two backends are enough")
def test_the_commands_of_the_other_sections_run(rng, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_sounds(tmp_path / "sounds", rng, 20)
    write_sensors(tmp_path / "recordings", rng, 30)
    Path("babble").mkdir()
    write_wav("babble/talk.wav", rng.normal(0, 900, 9000))
    *shown, augmentation, large = blocks(GUIDE, "sh")
    names = [commands(name, kind) for name in ("csv", "wav") for kind in ("commands", "events")]
    assert [[shlex.split(line) for line in block.splitlines()] for block in shown] == names
    run_commands(augmentation)
    assert len(np.load("sound-train.npz")["y"]) == 4 * 16
    run_commands(large, {"kgated train": ["--epochs", "1", "--units", "4", "--quiet"]})
    assert Path("motion.npy").is_file()
    assert Path("motion.keras").is_file()
