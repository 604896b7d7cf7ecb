"""A process that runs one engine."""

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

INSIDE = Path(__file__).parent / "inside"


class RefusedError(Exception):
    """The engine cannot run this; the message says why."""


def _ending(code: int) -> str:
    return "its package does not import" if code == 1 else f"its process crashed (exit {code})"


class Peer:
    """An engine in its own process.

    Args:
        python: of its environment.
        engine: the module `inside/run_ENGINE.py`.
        paths: folders that its Python imports from, too.
    """

    def __init__(self, python: Path, engine: str, paths: tuple[Path, ...] = ()) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = "1"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [str(python), str(INSIDE / "main.py"), engine],
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def open(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Opens a model; raises `RefusedError`. Returns version, largest error, peak memory."""
        opened: dict[str, Any] = self._ask("open", spec)
        return opened

    def time(self, calls: int) -> float:
        """µs per call, the mean of so many; raises `RefusedError`."""
        return float(self._ask("time", calls))

    def _ask(self, name: str, argument: Any) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([name, argument]) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise RefusedError(_ending(process.wait())) from None
        if not (line := process.stdout.readline()):
            raise RefusedError(_ending(process.wait()))
        answer = json.loads(line)
        if "refused" in answer:
            raise RefusedError(answer["refused"])
        return answer["result"]

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
