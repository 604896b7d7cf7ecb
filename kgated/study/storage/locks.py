"""Locks that end with the process that holds them: of a folder, or of a PostgreSQL server."""

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol


class Locks(Protocol):
    """Mutual exclusion of the processes that share trials."""

    def hold(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Wait for a lock, and hold it."""

    def register(self, worker: str) -> None:
        """Mark this worker as running, until `close` or the end of its process."""

    def is_alive(self, worker: str) -> bool:
        """Whether the process of a worker is running."""

    def check(self) -> None:
        """Raise an error if the lock of this worker is lost, so that others take it for dead."""

    def close(self) -> None:
        """Release the lock of this worker, so that others see that it has ended."""


class FileLock:
    """A lock on a file that the system releases when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; False if another holder has it and `blocking` is off."""
        file = self.path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "FileLock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


class FolderLocks:
    """Locks on files of a folder, for processes on a file system with `flock`.

    Args:
        folder: for the files; it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._alive: FileLock | None = None

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """See `Locks`."""
        with FileLock(self.folder / name):
            yield

    def register(self, worker: str) -> None:
        """See `Locks`."""
        self._alive = FileLock(self.folder / worker)
        self._alive.acquire()

    def is_alive(self, worker: str) -> bool:
        """See `Locks`."""
        if not (self.folder / worker).exists():
            return False
        lock = FileLock(self.folder / worker)
        is_dead = lock.acquire(blocking=False)
        lock.release()
        return not is_dead

    def check(self) -> None:
        """The system holds the lock as long as the process lives."""

    def close(self) -> None:
        """See `Locks`."""
        if self._alive is not None:
            self._alive.release()
            self._alive.path.unlink(missing_ok=True)


class AdvisoryLocks:
    """Advisory locks of a PostgreSQL server, which end with the connection.

    Args:
        connection: of SQLAlchemy, in autocommit mode; it is used for the locks alone.
        text: SQLAlchemy's `text`.
    """

    def __init__(self, connection: Any, text: Any) -> None:
        self.connection, self.text = connection, text
        self._worker: str | None = None

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """See `Locks`."""
        self._call("pg_advisory_lock", name)
        try:
            yield
        finally:
            self._call("pg_advisory_unlock", name)

    def register(self, worker: str) -> None:
        """See `Locks`."""
        self._call("pg_advisory_lock", worker)
        self._worker = worker

    def is_alive(self, worker: str) -> bool:
        """See `Locks`."""
        if worker == self._worker:  # a session gets a lock of its own again
            return True
        is_dead = bool(self._call("pg_try_advisory_lock", worker))
        if is_dead:
            self._call("pg_advisory_unlock", worker)
        return not is_dead

    def check(self) -> None:
        """See `Locks`; SQLAlchemy's error where the connection, and so the lock, is lost."""
        self.connection.execute(self.text("SELECT 1"))

    def close(self) -> None:
        """See `Locks`."""
        self.connection.close()

    def _call(self, function: str, name: str) -> Any:
        digest = hashlib.blake2b(f"kgated {name}".encode(), digest_size=8).digest()
        key = int.from_bytes(digest, "big", signed=True)
        return self.connection.execute(self.text(f"SELECT {function}(:key)"), {"key": key}).scalar()
