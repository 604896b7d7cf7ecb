"""The bytes of a model file whose signature was checked, in place of its path."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from kgated_edge.format.manifest import Manifest
from kgated_edge.format.signing_section import Signing


@dataclass(frozen=True)
class VerifiedFile(os.PathLike[str]):
    """A model file that was read once, and whose signature fits these bytes.

    Everything that takes the path of a model file takes this too, and then uses these bytes: a file
    that is replaced after the check changes nothing. Made by `require_signature`.

    Attributes:
        path: where the file was.
        content: its bytes.
        manifest: the manifest in them.
        signing: who signed it, as what.
    """

    path: str
    content: bytes = field(repr=False)
    manifest: Manifest = field(repr=False)
    signing: Signing

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path


ModelPath = str | Path | VerifiedFile


def size_of(path: ModelPath) -> int:
    """Bytes of a model file."""
    return len(path.content) if isinstance(path, VerifiedFile) else Path(path).stat().st_size
