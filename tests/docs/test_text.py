"""The examples of the guide to text run in their order, and their files are those that it names."""

from pathlib import Path

import keras
import pytest
from documented_commands import run_commands
from documents import blocks, page

EXAMPLES = blocks(page("docs/text.md"), "python")
COMMANDS = "".join(blocks(page("docs/text.md"), "sh")).splitlines()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="texts need TensorFlow")
def test_examples_and_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    printed = []
    for code in EXAMPLES:
        exec(code, {})
        printed.append(capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "command.keras",
        "command.tflite",
        "film.tflite",
        "words.txt",
        "writer.tflite",
    ]
    assert printed[0].strip() in ("good", "bad")
    assert printed[1] == "[4 2 1]\n"
    assert len(printed[2]) == 30
    outputs = []
    Path("command.tflite").unlink()
    for command in COMMANDS:
        run_commands(command)
        outputs.append(capsys.readouterr().out)
    assert outputs[1:3] == ["4 2 1\n", "go left [UNK]\n"]
    assert len(outputs[3]) == 81
