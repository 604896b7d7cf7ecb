"""`kgated-edge verify`, and `--require-key` of every command that opens a model."""

from pathlib import Path

import pytest
from extra_packages import required
from kgated_edge.cli import main

required("cryptography")
SIGNED = Path(__file__).parents[1] / "fixtures" / "signed"
KEY, MODEL = SIGNED / "key.pub", SIGNED / "speech.tflite"


def commands():
    """The names and the parsers of all commands."""
    return next(a for a in main._parser()._actions if hasattr(a, "choices") and a.choices).choices


def test_every_command_that_opens_a_model_can_require_a_key():
    without = {name for name, parser in commands().items() if "--require-key" not in usage(parser)}
    assert without == {"build", "verify"}


def usage(parser):
    return parser.format_help()


def test_verify_names_the_key_the_model_and_the_version(command, tmp_path):
    code, out, _ = command("verify", MODEL, "--key", KEY, "--version-file", tmp_path / "v")
    assert (code, out.splitlines()[1:]) == (0, ["model speech, version 5", "PASS"])
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "--data", "missing.npz"),
        ("selftest",),
        ("selftest", "--isolated"),
        ("realtime", "--data", "missing.npz"),
        ("live", "missing.csv"),
        ("events", "missing.csv"),
        ("generate", "--prompt", "a"),
        ("encode", "a"),
        ("decode", "1"),
    ],
)
def test_an_unsigned_file_is_refused_before_anything_else(arguments, error, speech):
    name, *rest = arguments
    message = error(name, speech, *rest, "--require-key", KEY)
    assert message == f"{speech}: it has no signature: sign it with `kgated sign`"


def test_commands_run_signed_files(command, npz, tmp_path):
    options = ("--require-key", KEY, "--version-file", tmp_path / "versions")
    code, out, _ = command("selftest", MODEL, "--isolated", *options)
    assert (code, out.splitlines()[-1]) == (0, "PASS")
    result = tmp_path / "result.json"
    code, out, _ = command("check", MODEL, "--data", npz, "--json", result, *options)
    assert (code, out.splitlines()[-1]) == (0, "PASS")
    assert f'"model": "{MODEL}"' in result.read_text()


def test_verify_refuses_an_older_version(error, tmp_path):
    versions = tmp_path / "versions"
    versions.write_text('{"name":"speech","version":6,"file_sha256":"0"}')
    message = error("verify", MODEL, "--key", KEY, "--version-file", versions)
    assert "its version 5 is older than 6" in message
