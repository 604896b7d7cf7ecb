"""Where trials are stored: a journal file in the folder, or a PostgreSQL database."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgated.atomic_write import replace_file
from kgated.optional_imports import from_extra
from kgated.study.storage.locks import AdvisoryLocks, FileLock, FolderLocks, Locks

JOURNAL = "trials.journal"
SCHEMES = ("postgresql", "postgresql+psycopg")
# A connection whose machine has vanished ends after about a minute.
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


@dataclass(frozen=True)
class Backend:
    """Storage of trials.

    Attributes:
        name: for messages, without a password.
        storage: of Optuna.
        locks: of the processes that share it.
        engine: of SQLAlchemy, for the files of models; None: the folder has them.
    """

    name: str
    storage: Any
    locks: Locks
    engine: Any = None

    def save_file(self, path: Path, content: bytes) -> None:
        """Write a file atomically, where every process of the study can read it."""
        replace_file(path, content)
        if self.engine is not None:
            text = from_extra("sqlalchemy", "postgresql").text
            insert = text(
                "INSERT INTO kgated_files (name, content) VALUES (:name, :content) "
                "ON CONFLICT (name) DO UPDATE SET content = excluded.content"
            )
            with self.engine.begin() as connection:
                connection.execute(insert, {"name": path.name, "content": content})

    def fetch_file(self, path: Path) -> Path:
        """The path of a file that any process saved; from a database it is copied there first."""
        if self.engine is not None and not path.is_file():
            text = from_extra("sqlalchemy", "postgresql").text
            select = text("SELECT content FROM kgated_files WHERE name = :name")
            with self.engine.begin() as connection:
                content = connection.execute(select, {"name": path.name}).scalar_one()
            replace_file(path, bytes(content))
        return path

    def close(self) -> None:
        """Let other processes know that this one has ended."""
        self.locks.close()
        if self.engine is not None:
            self.storage.remove_session()
            self.storage.engine.dispose()
            self.engine.dispose()


def open_backend(folder: Path, url: str | None, optuna: Any) -> Backend:
    """The storage of a comparison.

    Args:
        folder: of the comparison; it exists.
        url: of a database, such as "postgresql+psycopg://user@host/name"; None: a journal file.
        optuna: the package.

    Raises:
        ValueError: a URL of another kind, or a file that is no journal.
        OSError: the database can't be reached.
        ImportError: a package of the extra `postgresql` is missing.
    """
    return _journal(folder, optuna) if url is None else _database(url, optuna)


class Journal:
    """A journal file of Optuna that never ends in part of a line, also after a full disk.

    Args:
        backend: Optuna's journal file, which reads it.
        path: of the file.
        lock: of the file.
    """

    def __init__(self, backend: Any, path: Path, lock: FileLock) -> None:
        self.backend, self.path, self.lock = backend, path, lock

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The records from a number on."""
        records: Iterable[dict[str, Any]] = self.backend.read_logs(log_number_from)
        return records

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, all or none.

        Raises:
            OSError: the disk is full; one line.
        """
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self.lock:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            size = os.fstat(file).st_size
            try:
                write_all(file, content)
                os.fsync(file)
            except OSError as error:
                os.ftruncate(file, size)
                raise OSError(
                    f"can't write {self.path}: {error.strerror}; make room, then start the same "
                    "command again: it continues where it stopped"
                ) from error
            finally:
                os.close(file)


def write_all(file: int, content: bytes) -> None:
    """Write all bytes to a file descriptor."""
    while content:
        content = content[os.write(file, content) :]


def _journal(folder: Path, optuna: Any) -> Backend:
    module = from_extra("optuna.storages.journal", "compare")
    locks, path = FolderLocks(folder / ".locks"), folder / JOURNAL
    lock = FileLock(locks.folder / "journal")
    with lock:
        _drop_torn_line(path)
        _check_records(path)
    backend = Journal(module.JournalFileBackend(str(path), lock_obj=lock), path, lock)
    try:
        storage = optuna.storages.JournalStorage(backend)
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError):
        raise _no_journal(path, "it has records of another program or version") from None
    return Backend(str(path), storage, locks)


def _drop_torn_line(path: Path) -> None:
    """Cut off the end of a journal that a kill left without its last newline."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _check_records(path: Path) -> None:
    """Refuse a file with a line that is no record of Optuna's, such as one of a damaged disk."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line.decode())
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("op_code"), int):
            raise _no_journal(path, f"line {number} is damaged")


def _no_journal(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{path} is no journal of trials ({reason}): name another folder, restore the file, or "
        "delete it to begin again"
    )


def _database(url: str, optuna: Any) -> Backend:
    sqlalchemy = from_extra("sqlalchemy", "postgresql")
    from_extra("psycopg", "postgresql")
    try:
        address = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        address = None
    if address is None or address.drivername not in SCHEMES:
        raise ValueError(
            "--storage must be the address of a PostgreSQL database, such as "
            f"postgresql+psycopg://user:password@host/name. Received: {url!r}"
        )
    address = address.set(drivername=SCHEMES[-1])
    name = address.render_as_string(hide_password=True)
    options = {"connect_args": KEEPALIVE, "pool_pre_ping": True}
    engine = sqlalchemy.create_engine(address, **options)
    try:
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        locks = AdvisoryLocks(connection, sqlalchemy.text)
        with locks.hold("schema"):
            real = address.render_as_string(hide_password=False)
            storage = optuna.storages.RDBStorage(real, engine_kwargs=dict(options))
            table = "CREATE TABLE IF NOT EXISTS kgated_files (name text PRIMARY KEY, content bytea)"
            connection.execute(sqlalchemy.text(table))
    except sqlalchemy.exc.SQLAlchemyError as error:
        engine.dispose()
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise OSError(f"can't use the database {name} of --storage: {reason}") from None
    return Backend(name, storage, locks, engine)
