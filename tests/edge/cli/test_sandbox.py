"""Files that kill or hang are an error, in a process of their own."""

import subprocess
import sys

import pytest
from kgated_edge import ManifestError
from kgated_edge.cli import sandbox


def test_a_good_file_passes(command, speech):
    code, out, _ = command("selftest", speech, "--isolated")
    assert (code, out.splitlines()[-1]) == (0, "PASS")


def test_a_bad_file_gives_the_same_error_as_without_the_option(error, speech, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(speech.read_bytes()[:-9])
    assert error("selftest", path, "--isolated") == error("selftest", path)


@pytest.mark.parametrize(
    ("child", "seconds", "message"),
    [
        ("import os; os.abort()", 60, r"m.tflite: the interpreter crashes on it \(exit -6\)"),
        ("import time; time.sleep(60)", 0.5, "m.tflite: the interpreter takes longer than 0.5 s"),
    ],
)
def test_what_kills_and_what_hangs(monkeypatch, child, seconds, message):
    monkeypatch.setattr(sandbox, "_CHILD", child)
    with pytest.raises(ManifestError, match=message):
        sandbox.run_in_sandbox("m.tflite", seconds=seconds)


GREEDY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (512 << 20,) * 2)
bytearray(1 << 30)
"""


def test_memory_is_bounded(monkeypatch):
    # An emulated program may set the limit, and not feel it.
    if subprocess.run([sys.executable, "-c", GREEDY], capture_output=True).returncode == 0:
        pytest.skip("this system does not limit address space")
    limit = sandbox._CHILD.partition("from kgated_edge")[0]
    greedy = "try:\n    bytearray(1 << 30)\nexcept MemoryError:\n    sys.exit(9)\n"
    monkeypatch.setattr(sandbox, "_CHILD", limit + greedy)
    sandbox.run_in_sandbox("m.tflite", memory_mib=4096)
    with pytest.raises(ManifestError, match="exit 9"):
        sandbox.run_in_sandbox("m.tflite", memory_mib=512)
