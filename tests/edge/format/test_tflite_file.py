"""Files that are not models, or damaged: refused before their content is used."""

import os
import random
import tracemalloc

import pytest
from kgated_edge import EdgeModel, ManifestError, read_manifest

MUTATIONS = 300


def refusal(path):
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_the_error_names_the_kind_of_file(tmp_path, speech):
    content = speech.read_bytes()
    path = tmp_path / "model.tflite"
    assert "no such file" in refusal(path)
    assert "this is a directory" in refusal(tmp_path)
    path.write_bytes(b"")
    assert "the file is empty" in refusal(path)
    os.truncate(path, 2**31)
    assert "larger than a TFLite file can be" in refusal(path)
    assert "a device or a pipe" in refusal(os.devnull)
    path.write_bytes(b"PK\3\4" + content[4:8])
    assert "cut short or damaged: copy it again" in refusal(path)
    path.write_bytes(b"PK\3\4" * 100)
    assert "not a TFLite file: name a file made by `kgated convert`" in refusal(path)
    path.write_bytes(content[:-500])
    assert "cut short or damaged: copy it again" in refusal(path)
    path.write_bytes(content.replace(b"kgated_manifest", b"other_metadata_"))
    assert "it has no kgated manifest: convert it with `kgated convert`" in refusal(path)
    path.write_bytes(content.replace(b'"quantize":"none"', b'"quantize":"nona"'))
    assert "digest does not match, it is damaged or edited: copy it again" in refusal(path)
    path.write_bytes(content.replace(b'"file_sha256"', b'"file_sha255"'))
    assert "no digest" in refusal(path)
    path.write_bytes(content + b"\0")
    assert "digest does not match" in refusal(path)


def test_a_name_that_is_no_path():
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest("a\0b.tflite")


def test_a_format_of_the_future(speech, edit):
    path = edit(speech, b'"format_version":1,', b'"format_version":2,')
    assert "has format 2, this version reads 1: update kgated-edge" in refusal(path)


def test_the_signing_helper_makes_files_that_are_read(speech, edit):
    path = edit(speech, b'"quantize":"none"', b'"quantize":"nona"')
    assert read_manifest(path).recipe["quantize"] == "nona"


def test_damaged_files_end_in_one_clear_error(speech, text, tmp_path, monkeypatch):
    """No other exception, no interpreter, no memory to speak of, whatever the bytes."""

    def no_interpreter(*_, **__):
        raise AssertionError("the native interpreter saw a damaged file")

    monkeypatch.setattr("kgated_edge.runtime.interpreter.Interpreter", no_interpreter)
    path, chance = tmp_path / "damaged.tflite", random.Random(5)
    originals = [speech.read_bytes(), text.read_bytes()]
    path.write_bytes(originals[0])
    with pytest.raises(AssertionError):
        EdgeModel(path)
    tracemalloc.start()
    for n in range(MUTATIONS):
        damaged = damage(originals[n % 2], chance, n // 2 % 5)
        assert damaged != originals[n % 2]
        path.write_bytes(damaged)
        with pytest.raises(ManifestError):
            EdgeModel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def damage(content, chance, kind):
    """Another file: cut, with bytes changed, offsets made huge, a piece doubled or gone."""
    if kind == 0:
        return content[: chance.randrange(len(content))]
    changed = bytearray(content)
    if kind == 1:
        for _ in range(chance.randint(1, 20)):
            changed[chance.randrange(8, len(changed))] ^= chance.randint(1, 255)
    elif kind == 2:
        place = 4 * chance.randrange(2, len(changed) // 4)
        changed[place : place + 4] = chance.choice(
            [b"\xff" * 4, b"\xff\xff\xff\x7f", b"\3\2\1\x80"]
        )
    else:
        start = chance.randrange(8, len(changed) - 8)
        piece = changed[start : start + chance.randint(1, 200)]
        changed[start : start + (len(piece) if kind == 3 else 0)] = piece if kind == 4 else b""
    return bytes(changed)
