"""The version file of a device: the newest version of a model that it has accepted."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kgated_edge.errors import EdgeError, ManifestError, SignatureError
from kgated_edge.format.json_fields import Fields

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Accepted:
    """The content of a version file.

    Attributes:
        name: of the model; a version file is for one.
        version: the newest that was accepted.
        file_sha256: the digest of that file.
    """

    name: str
    version: int
    file_sha256: str


def check_version(path: str | Path, file: Accepted) -> None:
    """Checks a file against the version file, which stays as it is.

    Args:
        path: the version file; it may be missing.
        file: the file to accept.

    Raises:
        SignatureError: an older version, another file of the same version, or another model.
        EdgeError: the version file cannot be read, or is damaged.
    """
    newest = _read(Path(path))
    if newest is None or newest == file:
        return
    if newest.name != file.name:
        raise SignatureError(f"it is the model '{file.name}', {path} is for '{newest.name}'")
    if file.version < newest.version:
        raise SignatureError(
            f"its version {file.version} is older than {newest.version}, which this device has "
            "accepted: copy the newest file"
        )
    if file.version == newest.version:
        raise SignatureError(
            f"it is another file of version {file.version} than this device has accepted: sign it "
            "again with a higher version"
        )


def accept_version(path: str | Path, file: Accepted) -> None:
    """Checks a file as `check_version`, and records it where it is newer; whole or not at all.

    A link stays, and the file that it names is replaced.
    """
    target = Path(os.path.realpath(path))
    with _locked(target):
        check_version(path, file)
        if _read(target) != file:
            _write(target, file)


def _read(path: Path) -> Accepted | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EdgeError(f"{path}: the version file cannot be read ({error.strerror})") from None
    try:
        items = Fields(json.loads(content))
        values = items.text("name"), items.integer("version", 0), items.text("file_sha256")
    except (ManifestError, ValueError, RecursionError):
        raise EdgeError(
            f"{path}: this is no intact version file: restore it, or delete it to accept any "
            "version"
        ) from None
    return Accepted(*values)


def _write(path: Path, file: Accepted) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with scratch.open("wb") as stream:
                stream.write(json.dumps(asdict(file)).encode())
                stream.flush()
                os.fsync(stream.fileno())
            scratch.replace(path)
            _sync_folder(path.parent)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_be_written(path, error) from None


def _sync_folder(folder: Path) -> None:
    """Flush the folder to disk, so that a power cut does not restore the old version."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps a second process from writing an older version after a newer one."""
    try:
        import fcntl
    except ImportError:
        raise EdgeError("a version file needs a POSIX system: leave the option out") from None
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    except (OSError, ValueError) as error:
        raise _cannot_be_written(path, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _cannot_be_written(path: Path, error: Exception) -> EdgeError:
    reason = getattr(error, "strerror", None) or error
    return EdgeError(f"{path}: the version file cannot be written ({reason}): the model is not run")
