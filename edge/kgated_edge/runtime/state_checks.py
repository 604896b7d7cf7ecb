"""Whether arrays are the states of a model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgated_edge.errors import StateError
from kgated_edge.format.tensor_spec import Array, TensorSpec


def check_states(specs: Sequence[TensorSpec], values: Mapping[str, Array]) -> None:
    """Raises `StateError` unless there is a valid array for each state, and nothing else."""
    names = sorted(spec.name for spec in specs)
    if set(values) != set(names):
        raise StateError(
            f"`state` must hold {names}, got {sorted(values)}: "
            "assign what `state` of the same file returned"
        )
    for spec in specs:
        _check_state_array(spec, values[spec.name])


def _check_state_array(spec: TensorSpec, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.shape != spec.shape or value.dtype != spec.dtype:
        got = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise StateError(
            f"state `{spec.name}` must be an array of shape {spec.shape} and dtype {spec.dtype}, "
            f"got {got}: assign what `model.state` of the same file returned"
        )
    if not np.isfinite(value).all():
        raise StateError(f"state `{spec.name}` must be finite, got NaN or inf: call reset()")
