"""Devices that measure files: this machine, or one that ssh reaches."""

import contextlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, Protocol

from kgated.study.edge_check import CheckReport, Limits, read_report, run_check

LOCAL = "local"
HOST = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9][A-Za-z0-9_.-]*")
# Without a prompt on the terminal: a search of hours would wait for the answer.
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
NO_CONNECTION, NO_COMMAND = 255, 127
TIMEOUT_S = 900.0  # of a copy, and of a run of the runner
SHORT_S = 60.0  # of any other command
VERSION = re.compile(r"kgated-edge \d\S*")
MAX_SHOWN = 60  # characters of an answer in a message


class DeviceError(OSError):
    """A device can't be reached, or can't run the runner."""


class Device(Protocol):
    """Runs files over data sets, as `kgated-edge check` does."""

    name: str

    def check(
        self, model: Path, data: Path, limits: Limits, task: str | None = None
    ) -> CheckReport:
        """Measure a file."""

    def close(self) -> None:
        """Remove what was copied to the device."""


class LocalDevice:
    """This machine: the runner in a process of its own."""

    name = LOCAL

    def check(
        self, model: Path, data: Path, limits: Limits, task: str | None = None
    ) -> CheckReport:
        """See `run_check`."""
        return run_check(model, data, limits, task)

    def close(self) -> None:
        """Nothing was copied."""


class SshDevice:
    """A device that `ssh` reaches without a password, with `kgated-edge` installed.

    Files go by `scp` to a temporary directory there, a data set once.

    Args:
        host: as ssh takes it: "pi@raspberry.local", or a name of ssh's configuration.
        runner: the command there, such as ".venv/bin/kgated-edge".

    Raises:
        ValueError: no name of a host.
        DeviceError: the host can't be reached, doesn't answer, or has no such command.
    """

    def __init__(self, host: str, runner: str = "kgated-edge") -> None:
        if not HOST.fullmatch(host):
            raise ValueError(
                f"--device must be `local` or a host as ssh takes it, such as pi@192.168.1.20. "
                f"Received: {host!r}"
            )
        self.name, self.runner = host, runner
        self._sent: set[Path] = set()
        self._folder = self._start()

    def _start(self) -> str:
        """Make the temporary directory there, after checking that the runner is what answers."""
        try:
            version = self._run([self.runner, "--version"]).strip()
            if not VERSION.fullmatch(version):
                raise DeviceError(
                    f"{self.name}: `{self.runner} --version` answered {version[:MAX_SHOWN]!r}, not "
                    "only its name and version: name the runner by --runner, and let the shell "
                    "there print nothing for commands that ssh runs"
                )
            return self._run(["mktemp", "-d", "-t", "kgated-search.XXXXXXXX"]).strip()
        except RuntimeError as error:
            raise DeviceError(str(error)) from None

    def check(
        self, model: Path, data: Path, limits: Limits, task: str | None = None
    ) -> CheckReport:
        """Copy the file, run it there, and read the report.

        Raises:
            RuntimeError: the runner failed there; with its message.
            DeviceError: the connection failed, or there is no report that can be read.
        """
        if data not in self._sent:
            self._send(data)
            self._sent.add(data)
        self._send(model)
        remote_model, report = self._path(model), f"{self._folder}/check.json"
        command = [self.runner, "check", remote_model, "--data", self._path(data), "--json", report]
        command += limits.arguments(task)
        self._run(command, allowed=(0, 1), timeout_s=TIMEOUT_S)
        try:
            content = json.loads(self._run(["cat", report]))
            self._run(["rm", "-f", remote_model, report])
            return read_report(content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeviceError(
                f"{self.name}: the report of `{self.runner} check` can't be read "
                f"({type(error).__name__}: {error}): install the version of kgated-edge there that "
                "is installed here"
            ) from None
        except RuntimeError as error:
            raise DeviceError(str(error)) from None

    def close(self) -> None:
        """Remove the temporary directory, if the device still answers."""
        with contextlib.suppress(DeviceError, RuntimeError):
            self._run(["rm", "-rf", self._folder])

    def _path(self, file: Path) -> str:
        return f"{self._folder}/{file.name}"

    def _send(self, file: Path) -> None:
        target = f"{self.name}:{self._path(file)}"
        command = ["scp", "-q", *OPTIONS, str(file.resolve()), target]
        self._call(command, (0,), "scp", TIMEOUT_S)

    def _run(
        self, words: list[str], allowed: tuple[int, ...] = (0,), timeout_s: float | None = None
    ) -> str:
        """Run a command there; its words reach it as they are, whatever is in them."""
        command = ["ssh", *OPTIONS, "--", self.name, shlex.join(words)]
        return self._call(command, allowed, words[0], timeout_s or SHORT_S)

    def _call(
        self, command: list[str], allowed: tuple[int, ...], what: str, timeout_s: float
    ) -> str:
        options: dict[str, Any] = {"capture_output": True, "timeout": timeout_s}
        options |= {"text": True, "encoding": "utf-8", "errors": "replace"}
        try:
            run = subprocess.run(command, stdin=subprocess.DEVNULL, **options)
        except FileNotFoundError:
            raise DeviceError(
                f"--device {self.name} needs the command `{command[0]}`: install OpenSSH's client"
            ) from None
        except subprocess.TimeoutExpired:
            raise DeviceError(
                f"{self.name}: `{what}` took longer than {timeout_s:g} s: see whether the device "
                "hangs, then start the same command again: it continues where it stopped"
            ) from None
        if run.returncode not in allowed:
            lines = run.stderr.strip().splitlines() or [f"exit status {run.returncode}"]
            raise self._error(run.returncode, what, lines[-1])
        return run.stdout

    def _error(self, status: int, what: str, reason: str) -> Exception:
        if what == "scp" and status != NO_CONNECTION:
            return DeviceError(f"{self.name}: a file can't be copied there by scp: {reason}")
        if status == NO_CONNECTION:
            return DeviceError(f"{self.name} can't be reached by ssh without a password: {reason}")
        if status == NO_COMMAND and what == self.runner:
            return DeviceError(
                f"{self.name} has no command {self.runner!r} ({reason}): install the runner there "
                "by `pip install kgated-edge`, or name its path by --runner"
            )
        return RuntimeError(f"{self.name}: `{what}` failed: {reason}")


def open_device(name: str, runner: str = "kgated-edge") -> Device:
    """The device of `--device`: "local", or a host."""
    return LocalDevice() if name == LOCAL else SshDevice(name, runner)
