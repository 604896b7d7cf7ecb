"""The C sources beside a file follow it where only its manifest changes."""

from pathlib import Path

from kgated_edge.format.tflite_file import MANIFEST_NAME, digest_span, metadata_span
from kgated_edge.native.library import MARK

_SUFFIXES = ".h", ".c"


def files_with_digest(path: Path, before: bytes, after: bytes) -> dict[Path, bytes]:
    """The files that change with a model file: itself, and the C sources made with it.

    Sources that hold the digest of the old file get that of the new one, so that `kgated-edge
    build` still takes them. Any other file of these names is left alone.

    Args:
        path: the model file.
        before: its content, as the sources know it.
        after: its new content, with the same operators and weights.
    """
    old, new = _digest(before), _digest(after)
    files = {path: after}
    for source in (path.with_suffix(suffix) for suffix in _SUFFIXES):
        content = source.read_bytes() if source.is_file() else b""
        if content.startswith(MARK) and old in content:
            files[source] = content.replace(old, new)
    return files


def _digest(content: bytes) -> bytes:
    span = metadata_span(content, MANIFEST_NAME)
    assert span is not None, "a file with a manifest"
    first, last = digest_span(content, *span)
    return content[first:last]
