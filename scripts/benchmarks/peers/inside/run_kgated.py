"""This project's runner: LiteRT or the native engine."""

from importlib import metadata
from typing import Any

import numpy as np
from kgated_edge import EdgeModel, SequenceModel, SessionPool


def version() -> str:
    """The engine's version."""
    return metadata.version("ai-edge-litert")


def open_model(spec: dict[str, Any]) -> Any:
    """A stream, a pool of its sessions, or whole sequences; states stay inside."""
    path, engine = spec["tflite"], spec["engine"]
    if spec["steps"] > 1:
        run = SequenceModel(path, engine=engine).run
        return lambda x, states: (run(x[:, 0]), states)
    if spec["batch"] > 1:
        pool = SessionPool(path, engine=engine)
        sessions = [pool.open() for _ in range(spec["batch"])]

        def step_all(x: np.ndarray, states: list[np.ndarray]) -> Any:
            return pool.step(sessions, x[0]), states

        return step_all
    step = EdgeModel(path, engine=engine).step
    return lambda x, states: (step(x[0, 0]), states)
