"""Runs one engine for `benchmark_engines.py`, in the engine's own environment.

Reads lines of JSON, answers each with one. Needs numpy and the engine alone.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]
"""Takes frames (T, B, F) and states (1, B, U), returns results (T, B, U) and states."""


class Server:
    """One opened model at a time."""

    def __init__(self, engine: str) -> None:
        self._module: Any = importlib.import_module(f"run_{engine}")
        self._call: Call | None = None
        self._frames = np.zeros(0, np.float32)
        self._states: list[np.ndarray] = []
        self._carries = True

    def open(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Opens a model and compares its results with the expected ones."""
        self._call = self._module.open_model(spec)
        frames, expected = (np.load(spec[name]) for name in ("frames", "expected"))
        batch, count = frames.shape[1], {"GRU": 1}.get(spec["cell"], 2)
        zeros = [np.zeros((1, batch, spec["units"]), np.float32) for _ in range(count)]
        results, states = [], zeros
        for first in range(0, len(frames), spec["steps"]):
            y, states = self._call(frames[first : first + spec["steps"]], states)
            results.append(np.array(y).reshape(-1, batch, spec["units"]))
        error = float(np.abs(np.concatenate(results) - expected).max())
        self._frames, self._carries = frames[: spec["steps"]].copy(), spec["steps"] == 1
        self._states = zeros
        return {"version": self._module.version(), "max_error": error, "peak_mib": _peak_mib()}

    def time(self, calls: int) -> float:
        """µs per call."""
        assert self._call is not None, "a model is open"
        call, frames, states = self._call, self._frames, self._states
        start = time.perf_counter_ns()
        for _ in range(calls):
            _, after = call(frames, states)
            if self._carries:
                states = after
        self._states = states
        return (time.perf_counter_ns() - start) / calls / 1000


def _reason(error: Exception) -> str:
    """Why, in some words; the modules beside this one raise NotImplementedError themselves."""
    text = " ".join(str(error).split()).split(" Caused by")[0]
    if isinstance(error, NotImplementedError):
        return text
    return f"{type(error).__name__}: ...{text[-120:]}"


def _peak_mib() -> float | None:
    with open("/proc/self/status") as status:
        lines = [line.split() for line in status if line.startswith("VmHWM")]
    return int(lines[0][1]) / 1024 if lines else None


def main() -> None:
    """Serves until its input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of engines must not mix with the answers
    server = Server(sys.argv[1])
    for line in sys.stdin:
        name, argument = json.loads(line)
        try:
            answer = {"result": getattr(server, name)(argument)}
        except Exception as error:
            answer = {"refused": _reason(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
