"""Writing files so that a failure leaves nothing behind and never harms what was there."""

import os
import tempfile
from pathlib import Path


def check_writable(path: str | Path) -> Path:
    """Return `path` as a Path if a file can be written there, before the work is done for it.

    Raises:
        OSError: the folder is missing or can't be written, or the path is a folder; one line.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"can't write {path}: it is a folder; give a file name in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"can't write {path}: there is no folder {path.parent}; make it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"can't write {path}: the folder {path.parent} is not writable")
    return path


def replace_file(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed.

    Raises:
        OSError: it can't be written, the disk is full; what stood at `path` is untouched.
    """
    path = check_writable(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
