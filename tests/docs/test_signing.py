"""The commands and the Python of docs/signing.md, in their order."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from documents import ROOT, blocks, page
from kgated_edge.cli import main as edge

from kgated_cli.app import app, main

GUIDE = page("docs/signing.md")


def run(line):
    program, *arguments = shlex.split(line, comments=True)
    if program == "kgated":
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    elif program == "kgated-edge":
        assert edge.main(arguments) == 0
    else:
        assert program == "model_signing"
        subprocess.run([sys.executable, "-m", program, *arguments], check=True)


def test_the_page_runs(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests/edge/fixtures/speech.tflite", "keyword.tflite")
    first, bundle = blocks(GUIDE, "sh")
    for line in filter(None, first.splitlines()):
        run(line)
    assert capfd.readouterr().out.count("PASS") == 2
    for code in blocks(GUIDE, "python"):
        exec(code, {})
    assert capfd.readouterr().out == "speech 7 True\n"
    for line in bundle.splitlines():
        run(line)
    assert Path("keyword.tflite.sig").exists()


def test_the_page_names_the_fields_of_the_section():
    from kgated_edge.format.signing_section import PREFIX, Signing

    rows = [line.split("`")[1] for line in GUIDE.splitlines() if line.startswith("| `")]
    assert rows == ["scheme", "key", "name", "version", "ed25519"]
    assert set(rows) == set(Signing("", "", 0).to_plain())
    assert f"{len(PREFIX)} bytes of `{PREFIX.decode().strip()}`" in GUIDE


def test_the_page_names_the_commands_that_require_a_key():
    rows = re.findall(r"^\| (kgated(?:-edge)?) \| (.*?) \| (.*) \|$", GUIDE, re.MULTILINE)
    named = {program: re.findall(r"`(\w+)`", names) for program, names, _ in rows}
    without = {program: re.findall(r"`(\w+)`", names) for program, _, names in rows}
    parsers = next(a for a in edge._parser()._actions if hasattr(a, "choices") and a.choices)
    for name, parser in parsers.choices.items():
        has_option = "--require-key" in parser.format_help()
        assert name in (named if has_option else without)["kgated-edge"]
    with_option = [
        name
        for name, command in typer.main.get_command(app).commands.items()
        if any("--require-key" in parameter.opts for parameter in command.params)
    ]
    assert sorted(with_option) == sorted(named["kgated"])
