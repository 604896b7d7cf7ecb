"""OpenVINO."""

from typing import Any

import numpy as np
import openvino


def version() -> str:
    """The engine's version."""
    return str(openvino.__version__).split("-")[0]


def open_model(spec: dict[str, Any]) -> Any:
    """The layer from an ONNX file, for fixed shapes."""
    core = openvino.Core()
    model = core.read_model(spec["onnx"])
    names = [port.get_any_name() for port in model.inputs]
    state = [1, spec["batch"], spec["units"]]
    shapes = [[spec["steps"], spec["batch"], spec["features"]], state, state]
    model.reshape(dict(zip(names, shapes, strict=False)))
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", options).create_infer_request()

    def call(x: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        y, *after = request.infer([x, *states], share_inputs=True).to_tuple()
        return y, list(after)

    return call
