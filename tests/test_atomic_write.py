import os

import pytest

from kgated.atomic_write import check_writable, replace_file


def test_writes_whole_and_replaces(tmp_path):
    path = tmp_path / "a.bin"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "folder"), ("no/a.bin", "no folder"), ("file/a.bin", "file is a file; name a folder")],
)
def test_unwritable_paths_are_named(tmp_path, name, message):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=message):
        check_writable(tmp_path / name)
