"""A device accepts no version older than one that it has accepted."""

import json
import multiprocessing

import pytest
from extra_packages import required
from kgated_edge import EdgeError, EdgeModel, SignatureError, require_signature
from kgated_edge.signing import version_file
from kgated_edge.signing.version_file import Accepted, accept_version

required("cryptography")


@pytest.fixture
def versions(tmp_path):
    return tmp_path / "versions"


def test_an_older_version_is_refused_after_a_newer_one(of_version, key, versions):
    for version in (5, 5, 6, 8):
        EdgeModel(of_version(version), require_key=key, version_file=versions)
        assert json.loads(versions.read_text())["version"] == version
    before = versions.read_bytes()
    for version in (5, 7):
        with pytest.raises(SignatureError, match=f"its version {version} is older than 8"):
            EdgeModel(of_version(version), require_key=key, version_file=versions)
    assert versions.read_bytes() == before


def test_another_file_of_the_same_version_and_another_model_are_refused(
    of_version, signed, resign, key, versions, tmp_path
):
    EdgeModel(signed, require_key=key, version_file=versions)
    twice = tmp_path / "twice.tflite"
    twice.write_bytes(resign(signed.read_bytes() + b"\0"))
    with pytest.raises(SignatureError, match="another file of version 5"):
        EdgeModel(twice, require_key=key, version_file=versions)
    with pytest.raises(SignatureError, match=r"it is the model 'motion', .* is for 'speech'"):
        EdgeModel(of_version(9, b"motion"), require_key=key, version_file=versions)


def test_a_file_that_is_refused_is_not_recorded(of_version, key, versions, sign):
    path = of_version(9)
    path.write_bytes(sign(path.read_bytes() + b"\0"))
    with pytest.raises(SignatureError):
        EdgeModel(path, require_key=key, version_file=versions)
    assert not versions.exists()


def test_a_check_alone_records_nothing(signed, key, versions):
    require_signature(signed, key, versions, record=False)
    assert not versions.exists()


def test_a_version_file_behind_a_link_keeps_the_link_and_the_version(
    of_version, key, versions, tmp_path
):
    """As of a version file on a partition that survives a restart."""
    link = tmp_path / "volatile" / "versions"
    link.parent.mkdir()
    link.symlink_to(versions)
    EdgeModel(of_version(8), require_key=key, version_file=link)
    assert link.is_symlink()
    assert json.loads(versions.read_text())["version"] == 8
    with pytest.raises(SignatureError, match="its version 7 is older than 8"):
        EdgeModel(of_version(7), require_key=key, version_file=versions)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"name":"speech","version":-1}', b"\xff", b"[1]"]
)
def test_a_damaged_version_file_refuses_every_file(content, signed, key, versions):
    versions.write_bytes(content)
    with pytest.raises(EdgeError, match="no intact version file"):
        EdgeModel(signed, require_key=key, version_file=versions)
    assert versions.read_bytes() == content


def test_a_version_file_that_cannot_be_written_refuses_the_file(signed, key, tmp_path, monkeypatch):
    with pytest.raises(EdgeError, match=r"cannot be written .*: the model is not run"):
        EdgeModel(signed, require_key=key, version_file=tmp_path / "missing" / "versions")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(version_file.os, "fsync", full)
    with pytest.raises(EdgeError, match="No space left on device"):
        EdgeModel(signed, require_key=key, version_file=tmp_path / "versions")
    assert not (tmp_path / "versions").exists()
    assert not list(tmp_path.glob(".versions.*.tmp"))


def accept_many(path, numbers):
    for number in numbers:
        try:
            accept_version(path, Accepted("speech", number, f"{number:064d}"))
        except SignatureError:
            continue


def test_processes_that_record_at_once_never_lower_the_version(versions):
    context = multiprocessing.get_context("fork")
    jobs = [
        context.Process(target=accept_many, args=(versions, range(start, 300, 3)))
        for start in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert json.loads(versions.read_text())["version"] == 299
