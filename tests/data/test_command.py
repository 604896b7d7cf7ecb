"""`kgated data` as a command: files for each part, and refusals in one line with status 2."""

from pathlib import Path

import numpy as np
import pytest
from kgated_edge.cli.main import main as edge

from kgated_cli.app import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for label in ("off", "on"):
        for n in range(4):
            path = tmp_path / "in" / label / f"{n}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = "\n".join(f"{k};{v:.3f}".replace(".", ",") for k, v in enumerate(rng.random(9)))
            path.write_text(f"t_ms;x\n{rows}\n")
    return tmp_path


def run(*words):
    with pytest.raises(SystemExit) as end:
        main(list(map(str, words)))
    return end.value.code


def test_each_part_is_a_file_with_a_line(folder, capfd):
    assert run("data", "csv", "in", "d.npz", "--split", "test=0.25", "--window", "4f") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines == [
        "d-train.npz: 12 sequences, 48 frames; off 6, on 6",
        "d-test.npz: 4 sequences, 16 frames; off 2, on 2",
    ]
    with np.load("d-test.npz", allow_pickle=False) as file:
        assert file["class_names"].tolist() == ["off", "on"]
        assert file["feature_names"].tolist() == ["x"]
        assert file["sample_period_ms"] == 1.0
        assert file["x"].shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data", "csv", "none", "d.npz"), "none: there is no such folder"),
        (("data", "wav", "in", "d.npz"), "in: there are no files .wav"),
        (("data", "csv", "in", "d.csv"), "the output must end in .npz"),
        (("data", "csv", "in", "none/d.npz"), "there is no folder none"),
        (("data", "csv", "in", "d.npz", "--split", "test=2"), "fractions above 0"),
        (("data", "csv", "in", "d.npz", "--hop", "1"), "--hop needs a --window"),
        (("data", "csv", "in", "d.npz", "--window", "big"), "--window must be seconds"),
        (("data", "csv", "in", "d.npz", "--group", "("), "`group` is no regular expression"),
        (("data", "csv", "in", "d.npz", "--classes", "on"), "--classes lacks 'off'"),
        (("data", "csv", "in", "d.npz", "--format", "h5"), "`format` must be one of"),
        (("data", "csv", "in", "d.npz", "--label-pattern", "a(b)", "--no-labels"), "exclude each"),
        (("train", "in/on/0.csv", "m.keras"), "`kgated data csv in/on OUT.npz`"),
        (("train", "in", "m.keras"), "`kgated data csv in OUT.npz`"),
    ],
)
def test_a_refusal_is_one_line_and_nothing_is_written(folder, capfd, words, message):
    before = sorted(folder.rglob("*"))
    assert run(*words) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_the_device_names_the_command_for_a_csv_file(folder, capsys):
    model = Path(__file__).parents[1] / "edge" / "fixtures" / "speech.tflite"
    assert edge(["check", str(model), "--data", "in/on/0.csv"]) == 2
    assert "`kgated data csv in/on OUT.npz`" in capsys.readouterr().err
