"""The manifest's section `signing`, and the exact message that its signature signs.

The message is `PREFIX` and the SHA-512 of the whole file, in which the 64 digits of `file_sha256`
and the 128 digits of `ed25519` are counted as `0`. The first follow from the other bytes, and the
digest is checked before; so every byte of the file is covered.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kgated_edge.errors import ManifestError, SignatureError
from kgated_edge.format.json_fields import Fields
from kgated_edge.format.tflite_file import MANIFEST_NAME, digest_span, metadata_span

PREFIX = b"kgated model signature 1\n"
SECTION = "signing"
SCHEME = 1
SIGNATURE_DIGITS = 128
_FIELD = b'"ed25519":"'
_HEX = frozenset("0123456789abcdef")
_MAX_VERSION = 2**53 - 1


@dataclass(frozen=True)
class Signing:
    """The signature of a file: key, name and version of the model.

    Attributes:
        key: the public key, 64 hex digits.
        name: of the model; its versions replace one another.
        version: ascending from one signed file of this name to the next.
        ed25519: the signature, 128 hex digits.
        scheme: how the message is built.
    """

    key: str
    name: str
    version: int
    ed25519: str = "0" * SIGNATURE_DIGITS
    scheme: int = SCHEME

    def to_plain(self) -> dict[str, object]:
        """The section as values of JSON."""
        return asdict(self)


def read_signing(content: bytes) -> tuple[Signing, bytes]:
    """The section `signing` of a file, and the message that its signature has to sign.

    Args:
        content: a whole file, whose digest was checked.

    Raises:
        SignatureError: it is unsigned, or its manifest or its section is not exactly as it has to
            be: a key that occurs twice, two signatures, another scheme.
        ManifestError: as from `metadata_span`.
    """
    span = metadata_span(content, MANIFEST_NAME)
    if span is None:
        raise SignatureError("it has no kgated manifest, so no signature")
    signing = _parsed(content[slice(*span)])
    place = signature_span(content, *span)
    if signing.ed25519.encode() != content[slice(*place)]:
        raise SignatureError("its signature is not where it has to be: sign it again")
    return signing, signed_message(content, (digest_span(content, *span), place))


def signature_span(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Offsets of the signature's digits in a file with its manifest at start..end.

    Raises:
        SignatureError: there is no signature, or there are two.
    """
    text = content[start:end]
    count = text.count(_FIELD)
    if count != 1:
        state = "has no signature" if count == 0 else "has several signatures"
        raise SignatureError(f"it {state}: sign it with `kgated sign`")
    first = start + text.find(_FIELD) + len(_FIELD)
    return first, first + SIGNATURE_DIGITS


def signed_message(content: bytes, blanks: Iterable[tuple[int, int]]) -> bytes:
    """The signed message: a prefix, and the SHA-512 of the file with these parts counted as `0`."""
    view, digest, at = memoryview(content), hashlib.sha512(), 0
    for first, last in sorted(blanks):
        digest.update(view[at:first])
        digest.update(b"0" * (last - first))
        at = last
    digest.update(view[at:])
    return PREFIX + digest.digest()


def _parsed(text: bytes) -> Signing:
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"its manifest cannot be trusted ({error}): sign it again") from None
    items = Fields(document)
    if SECTION not in items:
        raise SignatureError("it has no signature: sign it with `kgated sign`")
    try:
        return _read(items.nested(SECTION))
    except ManifestError as error:
        raise SignatureError(str(error)) from None


def _read(items: Fields) -> Signing:
    scheme, version = items.integer("scheme", 1), items.integer("version", 0)
    if scheme != SCHEME:
        raise SignatureError(f"its signature has scheme {scheme}, this reads {SCHEME}: update")
    if version > _MAX_VERSION:
        raise items.wrong("version", f"at most {_MAX_VERSION}")
    key, ed25519 = _digits(items, "key", 64), _digits(items, "ed25519", SIGNATURE_DIGITS)
    return Signing(key, items.text("name"), version, ed25519, scheme)


def _digits(items: Fields, key: str, count: int) -> str:
    value = items.text(key)
    if len(value) != count or not _HEX.issuperset(value):
        raise items.wrong(key, f"{count} hex digits")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document
