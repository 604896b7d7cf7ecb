"""The examples of the guide to text run in their order, and their files are those that it names."""

import re

import keras
import pytest
from documents import blocks, page
from kgated_edge.cli import main

EXAMPLES = blocks(page("docs/text.md"), "python")
COMMANDS = re.findall(r"^kgated-edge (.*)$", page("docs/text.md"), re.MULTILINE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="texts need TensorFlow")
def test_examples_and_commands_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    printed = []
    for code in EXAMPLES:
        exec(code, {})
        printed.append(capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "command.tflite",
        "film.tflite",
        "writer.tflite",
    ]
    assert printed[0].strip() in ("good", "bad")
    assert printed[1] == "[4 2 1]\n"
    assert len(printed[2]) == 30
    outputs = []
    for command in COMMANDS:
        assert main.main(split(command)) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[:2] == ["4 2 1\n", "go left [UNK]\n"]
    assert len(outputs[2]) == 81


def split(command):
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', command)]
