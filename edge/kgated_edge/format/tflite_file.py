"""Reads a `.tflite` file from disk and checks its digest, before anything else parses it.

The digest is SHA-256 over the whole file, with its own 64 characters counted as `0`. This rule, the
name of the metadata and the spelling of the field are the same in every format version, so that
damage is detected first. Offsets in the file are not trusted: each is checked.
"""

import hashlib
import struct
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from kgated_edge.errors import ManifestError

_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
_MAX_ENTRIES = 100_000
MANIFEST_NAME = b"kgated_manifest"
NO_DIGEST = "0" * 64
_MAX_BYTES = 2**31 - 1  # the range of its offsets
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
        raise ManifestError("it has no kgated manifest: convert it with `kgated convert`")
    first, last = digest_span(content, *span)
    if file_digest(content, first, last).encode() != content[first:last]:
        raise ManifestError("its digest does not match, it is damaged or edited: copy it again")
    return content, content[slice(*span)]


def digest_span(content: bytes, start: int, end: int) -> tuple[int, int]:
    """Offsets of the 64 digits of `file_sha256` in a file with its manifest at start..end.

    Raises:
        ManifestError: the field is absent, occurs twice, or is not 64 characters long.
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
        # Reading a device or a pipe may never end.
        if not (S_ISREG(status.st_mode) or S_ISDIR(status.st_mode)):
            raise ManifestError("this is not a file but a device or a pipe: name a file")
        if status.st_size > _MAX_BYTES:
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


def metadata_span(data: bytes, name: bytes) -> tuple[int, int] | None:
    """Offsets of a metadata entry's buffer in a `.tflite` file.

    Args:
        data: the whole file.
        name: the entry's name.

    Returns:
        (start, end) offsets of the buffer's bytes, or None where there is no such entry.

    Raises:
        ManifestError: an offset or length in the file points outside it.
    """
    place = metadata_place(data, name)
    return None if place is None else _buffer_span(data, place)


def metadata_place(data: bytes, name: bytes) -> int | None:
    """Where a metadata entry refers to its bytes: the place of a uint32 offset, or 0 for no bytes.

    Args:
        data: the whole file.
        name: the entry's name.

    Returns:
        the place, or None where there is no such entry.

    Raises:
        ManifestError: as from `metadata_span`.
    """
    model = _indirect(data, 0)
    places = [field(data, table, _BUFFER_DATA) for table in tables(data, model, _MODEL_BUFFERS)]
    for place in places:
        _buffer_span(data, place)  # inside of the file
    for entry in tables(data, model, _MODEL_METADATA):
        start, end = vector(data, field(data, entry, _METADATA_NAME), 1)
        if data[start:end] == name:
            return _entry_place(data, entry, places)
    return None


def _entry_place(data: bytes, entry: int, places: list[int]) -> int:
    at = field(data, entry, _METADATA_BUFFER)
    index = unsigned(data, at) if at else 0
    if index >= len(places):
        raise damaged()
    return places[index]


def _buffer_span(data: bytes, place: int) -> tuple[int, int]:
    return vector(data, place, 1) if place else (0, 0)


def tables(data: bytes, table: int, slot: int) -> list[int]:
    """Offsets of the tables in a vector of tables; empty where the field is absent."""
    at = field(data, table, slot)
    start, end = vector(data, at, 4) if at else (0, 0)
    if end - start > 4 * _MAX_ENTRIES:
        raise damaged()
    return [_indirect(data, entry) for entry in range(start, end, 4)]


def field(data: bytes, table: int, slot: int) -> int:
    """Offset of a table's field, 0 where it is absent."""
    vtable = table - _unpack(data, table, "<i")
    place = 4 + 2 * slot
    if place >= _unpack(data, vtable, "<H"):
        return 0
    offset = _unpack(data, vtable + place, "<H")
    return table + offset if offset else 0


def vector(data: bytes, at: int, item_size: int) -> tuple[int, int]:
    """(start, end) of a vector's items, both inside the file."""
    start = _indirect(data, at)
    end = start + 4 + item_size * unsigned(data, start)
    if end > len(data):
        raise damaged()
    return start + 4, end


def _indirect(data: bytes, at: int) -> int:
    return at + unsigned(data, at)


def unsigned(data: bytes, at: int) -> int:
    """The uint32 at an offset."""
    return _unpack(data, at, "<I")


def byte(data: bytes, at: int) -> int:
    """The byte at an offset."""
    return _unpack(data, at, "<B")


def _unpack(data: bytes, at: int, form: str) -> int:
    # struct counts a negative offset from the end; here it only means a damaged file.
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise damaged()
    value: int = struct.unpack_from(form, data, at)[0]
    return value


def damaged() -> ManifestError:
    """The error for a file with offsets out of range."""
    return ManifestError("the file is cut short or damaged: copy it again")
