"""A file that the required key has not signed never reaches the interpreter."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from extra_packages import required
from kgated_edge import (
    EdgeError,
    EdgeModel,
    ManifestError,
    SequenceModel,
    SessionPool,
    SignatureError,
    WorkerPool,
    open_model,
    read_manifest,
    require_signature,
)
from kgated_edge.cli import main
from kgated_edge.format import tflite_file
from kgated_edge.runtime import interpreter, worker_pool
from kgated_edge.signing.ed25519 import public_key

required("cryptography")


@pytest.fixture(autouse=True)
def interpreters(monkeypatch):
    """The contents that an interpreter was made of, and the files of processes."""
    contents, make, start = [], interpreter.Interpreter, worker_pool._Worker

    def recorded(*, model_content, num_threads):
        contents.append(model_content)
        return make(model_content=model_content, num_threads=num_threads)

    def recorded_process(path, *rest):
        contents.append(path)
        return start(path, *rest)

    monkeypatch.setattr(interpreter, "Interpreter", recorded)
    monkeypatch.setattr(worker_pool, "_Worker", recorded_process)
    return contents


def refused(path, key, interpreters, error=ManifestError, **options):
    """The message of every way to open a file, each without an interpreter."""
    processes = partial(WorkerPool, sessions=1, workers=1)
    for run in (EdgeModel, SequenceModel, SessionPool, processes, open_model):
        with pytest.raises(error) as raised:
            run(path, require_key=key, **options)
    assert interpreters == []
    return str(raised.value)


def test_a_signed_file_runs_as_without_a_signature(signed, speech, key, frames, interpreters):
    expected = EdgeModel(speech).run(frames)
    interpreters.clear()
    model = EdgeModel(signed, require_key=key)
    assert np.array_equal(model.run(frames), expected)
    assert interpreters == [signed.read_bytes()]
    pool = SessionPool(signed, require_key=key)
    assert np.allclose(pool.open().step(frames[0]), expected[0])
    assert np.array_equal(EdgeModel(signed).run(frames), expected)


def test_a_signed_sequence_runs(signed_sequence, key, frames):
    model = SequenceModel(signed_sequence, require_key=key)
    assert np.allclose(model.run(frames), SequenceModel(signed_sequence).run(frames))


def test_processes_get_the_verified_bytes(signed, key, frames):
    with WorkerPool(signed, sessions=1, workers=1, require_key=key) as pool:
        assert np.allclose(pool.step(frames[:1])[0], EdgeModel(signed).step(frames[0]))


def test_a_replayed_file_is_refused(of_version, key, interpreters, tmp_path):
    versions = tmp_path / "versions"
    require_signature(of_version(8), key, versions)
    before = versions.read_bytes()
    for version in (0, 7):
        message = refused(
            of_version(version), key, interpreters, SignatureError, version_file=versions
        )
        assert f"its version {version} is older than 8" in message
    assert versions.read_bytes() == before


def test_the_signer_of_the_tests_follows_the_page(signed, resign):
    assert resign(signed.read_bytes()) == signed.read_bytes()


def test_an_unsigned_file_is_refused(speech, key, interpreters):
    assert "it has no signature: sign it" in refused(speech, key, interpreters, SignatureError)


@pytest.mark.parametrize("fits", [False, True])
def test_a_flipped_bit_anywhere_is_refused(fits, signed, key, sign, rng):
    """Also where the attacker makes the digest fit the changed file."""
    content = signed.read_bytes()
    section = content.index(b'"signing"')
    places = {*range(0, len(content), 13), *range(section, section + 320, 2)}
    refusals = 0
    for at in sorted(places):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        signed.write_bytes(sign(bytes(changed)) if fits else bytes(changed))
        if signed.read_bytes() != content:  # as it is after a digit of the digest was mended
            with pytest.raises(ManifestError):
                require_signature(signed, key)
            refusals += 1
    assert refusals >= len(places) - 64


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_a_truncated_file_is_refused(keep, signed, key, interpreters):
    signed.write_bytes(signed.read_bytes()[:keep])
    refused(signed, key, interpreters)


def test_appended_bytes_are_refused(signed, key, sign, interpreters):
    signed.write_bytes(sign(signed.read_bytes() + b"\0"))
    assert "does not fit the file" in refused(signed, key, interpreters, SignatureError)


def test_a_file_of_another_key_is_refused(signed, key, resign, interpreters):
    signed.write_bytes(resign(signed.read_bytes(), bytes(32)))
    assert "it was signed by the key" in refused(signed, key, interpreters, SignatureError)


def test_a_file_that_names_the_right_key_but_has_the_signature_of_another(
    signed, key, resign, sign, interpreters
):
    content = signed.read_bytes()
    name = re.compile(rb'"key":"[0-9a-f]{64}"')
    by_another = resign(content, bytes(32))
    signed.write_bytes(sign(name.sub(name.search(content)[0], by_another)))
    assert "does not fit the file" in refused(signed, key, interpreters, SignatureError)


def test_a_signature_of_another_file_is_refused(signed, signed_sequence, key, sign, interpreters):
    signature = re.compile(rb'(?<="ed25519":")[0-9a-f]{128}')
    moved = signature.search(signed_sequence.read_bytes())[0]
    signed.write_bytes(sign(signature.sub(moved, signed.read_bytes())))
    assert "does not fit the file" in refused(signed, key, interpreters, SignatureError)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b'"ed25519":"%s",' % (b"0" * 128), "several signatures|a key occurs twice"),
        (b'"\\u0065d25519":"%s",' % (b"0" * 128), "a key occurs twice"),
        (b'"version":9,', "a key occurs twice"),
    ],
)
def test_a_second_signature_is_refused(second, message, signed, key, sign, resign, interpreters):
    """Even one that was signed with it."""
    content = signed.read_bytes()
    place = content.index(b'"ed25519"')
    spare = content.index(b"     ", place)
    assert content[spare : spare + len(second)].isspace()
    doubled = content[:place] + second + content[place:spare] + content[spare + len(second) :]
    signed.write_bytes(sign(doubled))
    refused(signed, key, interpreters, SignatureError)
    if second.startswith(b'"version'):
        signed.write_bytes(resign(doubled))
    assert re.search(message, refused(signed, key, interpreters, SignatureError))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"scheme":1', b'"scheme":2', "has scheme 2"),
        (b'"version":5', b'"version":-', "cannot be trusted"),
        (b'"ed25519":"', b'"ed25519" "', "cannot be trusted"),
        (b'"signing":', b'"sinning":', "it has no signature"),
    ],
)
def test_a_section_that_breaks_a_rule_is_refused(old, new, message, signed, key, sign):
    content = signed.read_bytes()
    assert content.count(old) == 1
    signed.write_bytes(sign(content.replace(old, new)))
    with pytest.raises(SignatureError, match=message):
        require_signature(signed, key)


def test_capital_digits_are_no_second_spelling_of_a_signature(signed, key, sign):
    content = signed.read_bytes()
    first = re.search(rb'(?<="ed25519":")[0-9a-f]{128}', content)
    signed.write_bytes(sign(content.replace(first[0], first[0].upper())))
    with pytest.raises(SignatureError, match="128 hex digits"):
        require_signature(signed, key)


def test_a_file_is_read_once_and_a_swapped_link_changes_nothing(
    signed, speech, key, tmp_path, monkeypatch, interpreters
):
    link, reads, read = tmp_path / "link.tflite", [], tflite_file._read_bytes
    link.symlink_to(signed)

    def swap_after_reading(path):
        content = read(path)
        reads.append(path)
        link.unlink()
        link.symlink_to(speech)
        return content

    monkeypatch.setattr(tflite_file, "_read_bytes", swap_after_reading)
    content = signed.read_bytes()
    model = open_model(link, require_key=key)
    clone = model.clone()
    assert reads == [link]
    assert interpreters == [content, content]
    assert clone.manifest.file_sha256 == model.manifest.file_sha256


def test_verified_bytes_replace_the_path(signed, key, frames):
    file = require_signature(signed, key)
    expected = EdgeModel(signed).run(frames)
    signed.unlink()
    assert np.array_equal(EdgeModel(file).run(frames), expected)
    assert read_manifest(file) is file.manifest


def test_the_library_of_c_sources_is_refused_since_no_signature_covers_it(signed, key):
    with pytest.raises(EdgeError, match="a library that no signature covers"):
        EdgeModel(signed, require_key=key, engine="native")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the key cannot be read"),
        (b"", "no public key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM"),
    ],
)
def test_a_bad_key_is_refused(content, message, signed, tmp_path):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EdgeError, match=message):
        require_signature(signed, path)


def test_a_file_of_several_keys_and_a_private_key_are_refused(signed, key, tmp_path):
    path = tmp_path / "key"
    path.write_bytes(key.read_bytes() * 2)
    with pytest.raises(EdgeError, match="the file has several keys: give a file with one"):
        require_signature(signed, path)
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(EdgeError, match="this is a private key: keep it secret"):
        require_signature(signed, path)


def test_a_key_of_another_kind_is_refused(tmp_path):
    ec = required("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    path = tmp_path / "key"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(EdgeError, match="not an Ed25519 key"):
        public_key(path)


def test_a_name_with_a_line_feed_prints_no_line_of_its_own(of_version, key, capsys):
    assert main.main(["verify", str(of_version(5, b"a\\nPAS")), "--key", str(key)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [r"model 'a\nPAS', version 5", "PASS"]


def test_without_cryptography_a_required_key_is_an_error_and_nothing_else_changes(signed, key):
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from kgated_edge import EdgeModel, EdgeError\n"
        "EdgeModel(sys.argv[1])\n"
        "try:\n    EdgeModel(sys.argv[1], require_key=sys.argv[2])\n"
        "except EdgeError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-P", "-c", code, str(signed), str(key)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 'pip install "kgated-edge[verify]"' in run.stdout


def test_a_version_file_needs_a_key(signed, tmp_path):
    with pytest.raises(EdgeError, match="give `require_key` too"):
        EdgeModel(signed, version_file=Path(tmp_path / "versions"))
