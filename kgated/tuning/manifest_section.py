"""Changes a section of the manifest in a `.tflite` file, and no other byte of the model.

A manifest that fits takes the place of the old one. A longer one is appended to the file: the
metadata entry then refers to the new offset, and blanks remain at the old one.
"""

import json
import warnings
from pathlib import Path

from kgated_edge.format.reader import parse_manifest, read_model
from kgated_edge.format.signing_section import SECTION as SIGNING
from kgated_edge.format.tflite_file import (
    MANIFEST_NAME,
    NO_DIGEST,
    digest_span,
    file_digest,
    metadata_place,
    metadata_span,
)
from kgated_edge.format.verified_file import ModelPath

from kgated.atomic_write import check_writable, replace_files
from kgated.tuning.source_digest import files_with_digest

_ALIGNMENT = 16  # of the bytes of a buffer in a TFLite file
_SPARE = 512  # so that the next change fits


def write_section(path: ModelPath, name: str, section: object) -> None:
    """Writes a section of the manifest of a file; whole or not at all.

    A signature of the file is removed, with a warning. C sources beside it get its new digest.

    Args:
        path: a `.tflite` file made by `kgated convert`, or the bytes of `require_signature`, which
            are written back with the section, whatever the file is by then.
        name: of the section.
        section: what JSON can hold; None removes it.

    Raises:
        ManifestError: the file cannot be read, or the section breaks a rule of its format.
        OSError: it cannot be written.
    """
    content, _ = read_model(path)
    changed, file = with_section(content, name, section), check_writable(Path(path))
    replace_files(files_with_digest(file, content, changed))
    if is_signed(content):
        warnings.warn(
            f"{path} was signed, and its signature does not fit the changed file, so it was "
            "removed: sign the file again",
            stacklevel=2,
        )


def with_section(content: bytes, name: str, section: object) -> bytes:
    """A model file with one section of its manifest changed.

    Args:
        content: a model file.
        name: of the section.
        section: its value in JSON; None: remove the section.

    Returns:
        The changed file. Its digest is new, and it has no signature.

    Raises:
        ManifestError: the section breaks a rule of its format.
    """
    span, offset = metadata_span(content, MANIFEST_NAME), metadata_place(content, MANIFEST_NAME)
    assert span is not None, "a file with a manifest"
    assert offset is not None, "a file with a manifest"
    start, end = span
    document = json.loads(content[start:end])
    document.pop(name, None)
    document.pop(SIGNING, None)  # it does not fit the changed file
    if section is not None:
        document[name] = section
    document["file_sha256"] = NO_DIGEST
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    parse_manifest(text)
    if len(text) <= end - start:
        return _signed(content[:start] + text.ljust(end - start) + content[end:], start, end)
    return _appended(content, (start, end), offset, text.ljust(len(text) + _SPARE))


def is_signed(content: bytes) -> bool:
    """Whether the manifest of a file has a signature, right or wrong."""
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "a file with a manifest"
    return SIGNING in json.loads(content[slice(*span)])


def _appended(content: bytes, span: tuple[int, int], offset: int, text: bytes) -> bytes:
    start, end = span
    # A manifest at the end of the file is replaced, any other left behind as blanks.
    is_last = not content[end:].strip(b"\0")
    rest = content[: start - 4] if is_last else content[:start] + b" " * (end - start)
    rest += b"" if is_last else content[end:]
    begin = -(-(len(rest) + 4) // _ALIGNMENT) * _ALIGNMENT
    file = bytearray(rest.ljust(begin - 4, b"\0") + len(text).to_bytes(4, "little") + text)
    file[offset : offset + 4] = (begin - 4 - offset).to_bytes(4, "little")
    return _signed(bytes(file), begin, begin + len(text))


def _signed(content: bytes, start: int, end: int) -> bytes:
    first, last = digest_span(content, start, end)
    return content[:first] + file_digest(content, first, last).encode() + content[last:]
