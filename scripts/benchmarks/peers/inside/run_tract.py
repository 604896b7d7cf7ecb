"""tract."""

from importlib import metadata
from typing import Any

import numpy as np
import tract


def version() -> str:
    """The engine's version."""
    return metadata.version("tract")


def open_model(spec: dict[str, Any]) -> Any:
    """The layer from an ONNX file, for fixed shapes."""
    model = tract.onnx().load(spec["onnx"])
    state = f"1,{spec['batch']},{spec['units']},f32"
    facts = [f"{spec['steps']},{spec['batch']},{spec['features']},f32", state, state]
    for n, fact in zip(range(model.input_count()), facts, strict=False):
        model.set_input_fact(n, fact)
    runnable = model.into_model().into_runnable()

    def call(x: np.ndarray, states: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        y, *after = (value.to_numpy() for value in runnable.run([x, *states]))
        return y, after

    return call
