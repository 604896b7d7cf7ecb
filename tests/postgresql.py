"""A private PostgreSQL server on the loopback interface, for tests."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MISSING = "PostgreSQL is not installed: the tests of --storage do NOT run (apt install postgresql)"


def programs() -> Path:
    """The folder of `initdb` and `pg_ctl`; skips the test where there is none."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    folders = [folder for folder in folders if (folder / "initdb").is_file()]
    if not folders:
        pytest.skip(MISSING)
    return folders[-1]


@contextmanager
def server() -> Iterator[str]:
    """A running server in a separate folder; yields the address of its database."""
    pytest.importorskip(
        "psycopg", reason="psycopg is not installed: pip install kgated[postgresql]"
    )
    bin_folder = programs()
    # The server refuses to run as root.
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="kgated-postgresql-") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, "postgres", "postgres")
        with _running(folder, bin_folder, user) as port:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"


@contextmanager
def _running(folder: Path, bin_folder: Path, user: dict[str, str]) -> Iterator[int]:
    data, port = folder / "data", _free_port()
    shared = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL, **user}
    initdb = [bin_folder / "initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
    subprocess.run(initdb, **shared)
    settings = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
    control = [bin_folder / "pg_ctl", "-D", data, "-w", "-t", "120"]
    subprocess.run([*control, "-o", settings, "-l", folder / "log", "start"], **shared)
    try:
        yield port
    finally:
        if (data / "postmaster.pid").exists():  # no test stopped it
            subprocess.run([*control, "-m", "immediate", "stop"], **shared)


def stop(address: str) -> None:
    """Stop a server of these tests at once, as if its machine had failed."""
    import psycopg

    with psycopg.connect(address.replace("+psycopg", "")) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    process = Path(row[0], "postmaster.pid")
    os.kill(int(process.read_text().split()[0]), signal.SIGQUIT)
    while process.exists():
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
