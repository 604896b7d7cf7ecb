"""Writing files so that a failure leaves nothing behind and never harms what was there."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgated.argument_checks import as_path


def check_writable(path: str | Path) -> Path:
    """Return `path` as a Path if a file can be written there, before the work is done for it.

    Raises:
        OSError: the folder is missing or can't be written, or the path is no file; one line.
        TypeError: `path` is no path.
        ValueError: an empty one.
    """
    path = as_path("path", path)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long
        reason = error.strerror or type(error).__name__
        raise OSError(f"can't write {path}: {reason}; give another name") from None
    if is_folder:
        raise IsADirectoryError(f"can't write {path}: it is a folder; give a file name in it")
    if exists and not path.is_file():
        raise OSError(f"can't write {path}: it is a device or a pipe, and files are replaced whole")
    if path.parent.is_file():
        raise NotADirectoryError(f"can't write {path}: {path.parent} is a file; name a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"can't write {path}: there is no folder {path.parent}; make it")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"can't write {path}: the folder {path.parent} is not writable")
    return path


def prepare_folder(path: str | Path) -> Path:
    """Make a folder if it does not exist, and check that files can be written to it.

    Raises:
        OSError: the folder can't be made or written to; one line.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"can't make the folder {folder} ({error.strerror}); name another one"
        ) from error
    return check_writable(folder / "report").parent


def replace_file(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all: into a temporary file beside it, then renamed.

    Raises:
        OSError: it can't be written, the disk is full; what stood at `path` is untouched.
    """
    replace_files({path: content})


def replace_files(contents: Mapping[Any, bytes]) -> None:
    """Write files that belong together, by path: none takes its place before all are on the disk.

    A link stays, and the file that it names is replaced.

    Raises:
        OSError: as from `replace_file`; nothing has changed, unless the last step, a renaming, was
            what failed: then each file is the old one or the new one, whole.
    """
    written: list[tuple[str, Path]] = []
    try:
        for name, content in contents.items():
            path = check_writable(os.path.realpath(check_writable(name)))
            descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            written.append((temporary, path))
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
        for temporary, path in written:
            os.replace(temporary, path)
    except BaseException as error:
        for temporary, _ in written:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a full disk does not say where
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
