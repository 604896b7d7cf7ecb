"""The guide to data: four commands from a folder of files to `check`, without Python."""

import re
import shlex
import wave

import keras
import numpy as np
import pytest
from documents import blocks, page
from kgated_edge.cli.main import main as edge
from typer.testing import CliRunner

from kgated_cli.app import app

GUIDE = page("docs/data.md")
QUICK = ["--epochs", "12", "--units", "8", "--learning-rate", "0.02", "--quiet"]


def commands(name):
    """The commands of the block that is marked by a name."""
    block = re.search(rf"<!-- commands: {name} -->\n```sh\n(.*?)```", GUIDE, re.DOTALL).group(1)
    return [shlex.split(line) for line in block.splitlines()]


def run(words):
    if words[0] == "kgated-edge":
        assert edge(words[1:]) == 0
        return
    more = QUICK if words[1] == "train" else []
    done = CliRunner().invoke(app, [*words[1:], *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output


def write_sensors(folder, rng):
    """200 recordings of ten persons as CSV files."""
    times = np.arange(20) / 50
    for n in range(200):
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


def write_sounds(folder, rng):
    """60 recordings of tones in noise as WAV files."""
    for n in range(60):
        label, hz = (("bell", 1800), ("hum", 200))[n % 2]
        time = np.arange(4800) / 16000
        tone = 6000 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time)
        path = folder / label / f"{n:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes((tone + rng.normal(0, 500, 4800)).astype("<i2").tobytes())


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


def test_the_example_in_python_runs(rng, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_sensors(tmp_path / "recordings", rng)
    (code,) = blocks(GUIDE, "python")
    exec(code, {})
    assert capsys.readouterr().out.endswith("('rest', 'run', 'walk') 0.02\n")
