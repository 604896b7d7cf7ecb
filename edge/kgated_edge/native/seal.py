"""The digest at the end of a library, by which damage is found before the library is loaded.

A library that was cut off would crash the process that loads it. Loaders ignore what stands after
the last section of a file.
"""

import hashlib
from pathlib import Path

from kgated_edge.errors import EdgeError

_PREFIX = b"\nkgated-edge library, SHA-256 "
_SIZE = len(_PREFIX) + 64


def seal(path: Path) -> None:
    """Appends the digest of a file to it."""
    content = path.read_bytes()
    path.write_bytes(content + _end(content))


def check_seal(path: Path) -> None:
    """Refuses a library without its digest.

    Raises:
        EdgeError: it is damaged, cut off, or none of `kgated-edge build`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EdgeError(f"{path}: cannot be read ({error.strerror}): check the file") from None
    if content[-_SIZE:] != _end(content[:-_SIZE]):
        raise EdgeError(
            f"{path}: this library is damaged, or none of this version's `kgated-edge build`: "
            "build it again here"
        )


def _end(content: bytes) -> bytes:
    return _PREFIX + hashlib.sha256(content).hexdigest().encode()
