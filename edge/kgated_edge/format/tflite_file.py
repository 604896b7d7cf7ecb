"""Reads a `.tflite` file from disk and proves it undamaged, before anything else looks inside.

The digest is SHA-256 over the whole file, with its own 64 characters counted as `0`. That rule, the
metadata name and the spelling of the field hold for every format version: damage is found first.
"""

import hashlib
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from kgated_edge.container import metadata_span
from kgated_edge.errors import ManifestError

MANIFEST_NAME = b"kgated_manifest"
NO_DIGEST = "0" * 64
_MOST_BYTES = 2**31 - 1  # as far as the offsets in it reach
_DIGEST_KEY = b'"file_sha256":"'


def read_verified(path: Path) -> tuple[bytes, bytes]:
    """Reads a file whole and checks its digest.

    Returns:
        the file, and the manifest's JSON in it.

    Raises:
        ManifestError: the file is missing, a directory, empty, not TFLite, cut short, without a
            manifest, or changed since it was written.
    """
    content = _read(path)
    span = metadata_span(content, MANIFEST_NAME)
    if span is None:
        raise ManifestError("there is no kgated manifest in it: convert it with `kgated convert`")
    first, last = digest_span(content, *span)
    if file_digest(content, first, last).encode() != content[first:last]:
        raise ManifestError("its digest does not match, it is damaged or edited: copy it again")
    return content, content[slice(*span)]


def digest_span(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Where the 64 digits of `file_sha256` stand in a file with its manifest at start..end.

    Raises:
        ManifestError: the field is absent, is there twice, or is not 64 characters long.
    """
    text = content[start:end]
    place = text.find(_DIGEST_KEY) + len(_DIGEST_KEY)
    if text.count(_DIGEST_KEY) != 1 or text[place + 64 : place + 65] != b'"':
        raise ManifestError("its manifest has no digest of the file: copy or convert it again")
    return start + place, start + place + 64


def file_digest(content: bytes, first: int, last: int) -> str:
    """SHA-256 of a file, in hex, with the bytes first..last counted as `0` characters."""
    view = memoryview(content)
    digest = hashlib.sha256(view[:first])
    digest.update(NO_DIGEST.encode())
    digest.update(view[last:])
    return digest.hexdigest()


def _read(path: Path) -> bytes:
    content = _read_bytes(path)
    if not content:
        raise ManifestError("the file is empty: copy it again")
    if content[4:8] != b"TFL3":
        raise ManifestError("this is not a TFLite file: name a file made by `kgated convert`")
    return content


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        # A device or a pipe may have no end.
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            raise ManifestError("this is no file but a device or a pipe: name a file")
        if status.st_size > _MOST_BYTES:
            raise ManifestError("it is larger than a TFLite file can be, 2 GiB: check the path")
        return path.read_bytes()
    except FileNotFoundError:
        raise ManifestError("no such file: check the path") from None
    except IsADirectoryError:
        raise ManifestError("this is a directory: name the .tflite file in it") from None
    except ManifestError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ManifestError(f"cannot be read ({reason}): check the path") from None
