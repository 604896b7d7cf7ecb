"""`--require-key` and `--version-file` of the commands that run or publish a model file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kgated_edge.format.verified_file import ModelPath

RequireKey = Annotated[
    Path | None,
    typer.Option(metavar="PUB", help="Refuse a file that this Ed25519 key has not signed."),
]
VersionFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Record its version here, and refuse older ones."),
]


def open_signed(model: Path, require_key: Path | None, version_file: Path | None) -> "ModelPath":
    """The verified bytes in place of the path, where a key is required.

    Raises:
        EdgeError: as from `kgated_edge.require_signature`, or a version file without a key.
    """
    from kgated_edge.signing.check import opened

    return opened(model, require_key, version_file)
