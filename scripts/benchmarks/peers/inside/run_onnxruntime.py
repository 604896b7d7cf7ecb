"""ONNX Runtime."""

from typing import Any

import numpy as np
import onnxruntime


def version() -> str:
    """The engine's version."""
    return str(onnxruntime.__version__)


def open_model(spec: dict[str, Any]) -> Any:
    """The layer from an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(spec["onnx"], options, ["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(x: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        y, *after = session.run(None, dict(zip(names, [x, *states], strict=True)))
        return y, after

    return call
