"""Damaged copies of model files, each determined by its number."""

import json
import random
from typing import Any

from kgated_edge.errors import ManifestError
from kgated_edge.format.tflite_file import MANIFEST_NAME, digest_span, file_digest, metadata_span

from robust.forge import with_other_fields

KINDS = ("bytes", "cut", "manifest", "graph", "fields")
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, -0.0, 0.5, 1e308, 1e-320),
    *("", "x", "step", "float32", "int8", "int32", "\u0000", "é" * 9, "0" * 64),
    *([], {}, [[]], [0], [1, 2**31 - 1], ["x"], {"x": {}}, {"file_sha256": "0" * 64}),
)
_MAX_FLOAT = 1e308
_TEXTS = (b"NaN", b"Infinity", b"1e999", b"[" * 60, b'{"a":' * 12, b'"\\ud800"', b"\xff\xfe", b"}")


def damaged(content: bytes, kind: str, number: int) -> bytes:
    """A damaged copy of a model file.

    Args:
        content: the file.
        kind: "bytes": changed bytes; "cut": missing, repeated or appended bytes; "manifest": a
            changed field; "graph": changed bytes outside the manifest; "fields": changed numbers of
            tensors, operators or subgraphs. The last three have a valid digest.
        number: determines the damage.
    """
    rng = random.Random(f"{kind} {number}")
    if kind == "bytes":
        return _changed(content, rng, (0, 0))
    if kind == "cut":
        return _cut(content, rng)
    if kind == "manifest":
        return _signed(_with_manifest(content, rng))
    if kind == "graph":
        return _signed(_changed(content, rng, _span(content)))
    return _signed(with_other_fields(content, rng))


def _changed(content: bytes, rng: random.Random, keep: tuple[int, int]) -> bytes:
    """One to 16 bytes changed, none of those in `keep`."""
    copy = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(copy) - (keep[1] - keep[0]))
        at += keep[1] - keep[0] if at >= keep[0] else 0
        flipped = copy[at] ^ 1 << rng.randrange(8)
        values = [0, 1, 127, 128, 255, flipped, rng.randrange(256)]
        copy[at] = rng.choice([value for value in values if value != copy[at]])
    return bytes(copy)


def _cut(content: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.choices(range(len(content) + 1), k=2))
    short = rng.randrange(64)
    makers = [
        lambda: content[:first],
        lambda: content[:short],
        lambda: content[first:],
        lambda: content[:first] + content[last:],
        lambda: content[:last] + content[first:],
        lambda: content + rng.randbytes(short),
        lambda: content[:first] + bytes(last - first) + content[last:],
        lambda: rng.randbytes(short),
    ]
    return rng.choice(makers)()


def _with_manifest(content: bytes, rng: random.Random) -> bytes:
    """Replace the manifest, padded with blanks to the old length."""
    start, end = _span(content)
    text = content[start:end]
    while True:
        if rng.random() < 0.3:
            new = _edited(text, rng)
        else:
            document = json.loads(text)
            for _ in range(rng.choice([1, 1, 2])):
                _edit_field(document, rng)
            new = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        if len(new) <= len(text) and new != text:
            return content[:start] + new.ljust(len(text)) + content[end:]


def _edited(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text))
    piece = rng.choice([*_TEXTS, b"", rng.randbytes(4)])
    return text[:at] + piece + text[at + max(len(piece), rng.randrange(40)) :]


def _edit_field(document: Any, rng: random.Random) -> None:
    """Change or remove one field anywhere in the document."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if rng.random() < 0.2:
            del place[key]
        elif isinstance(place[key], int | float) and rng.random() < 0.4:
            value = place[key]
            # An earlier edit may have produced an integer beyond the range of floats.
            third = value / 3 if abs(value) < _MAX_FLOAT else 0
            place[key] = rng.choice([value + 1, value * 2, -value, third])
        elif isinstance(place[key], str) and place[key] and rng.random() < 0.4:
            cut = rng.randrange(len(place[key]))
            place[key] = place[key][:cut] + place[key][cut + 1 :]
        else:
            place[key] = rng.choice(_VALUES)
        return


def _span(content: bytes) -> tuple[int, int]:
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "the file that copies are made of has a manifest"
    return span


def _signed(content: bytes) -> bytes:
    """The file with a valid digest, if its manifest still has one."""
    try:
        span = metadata_span(content, MANIFEST_NAME)
        if span is None:
            return content
        first, last = digest_span(content, *span)
    except ManifestError:
        return content
    return content[:first] + file_digest(content, first, last).encode() + content[last:]
