"""Files that kill or hang are an error, in a process of their own."""

import pytest
from kgated_edge import ManifestError, isolated


def test_a_good_file_passes(command, speech):
    code, out, _ = command("selftest", speech, "--isolated")
    assert (code, out.splitlines()[-1]) == (0, "PASS")


def test_a_bad_file_says_what_it_says_without(error, speech, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(speech.read_bytes()[:-9])
    assert error("selftest", path, "--isolated") == error("selftest", path)


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ("import os; os.abort()", r"m.tflite: the interpreter does not survive it \(exit -6\)"),
        ("import time; time.sleep(60)", "m.tflite: the interpreter takes longer than 0.5 s"),
    ],
)
def test_what_kills_and_what_hangs(monkeypatch, child, message):
    monkeypatch.setattr(isolated, "_CHILD", child)
    with pytest.raises(ManifestError, match=message):
        isolated.try_out("m.tflite", seconds=0.5)


def test_memory_is_bounded(monkeypatch):
    limit = isolated._CHILD.partition("from kgated_edge")[0]
    greedy = "try:\n    bytearray(1 << 30)\nexcept MemoryError:\n    sys.exit(9)\n"
    monkeypatch.setattr(isolated, "_CHILD", limit + greedy)
    isolated.try_out("m.tflite", memory_mib=4096)
    with pytest.raises(ManifestError, match="exit 9"):
        isolated.try_out("m.tflite", memory_mib=512)
