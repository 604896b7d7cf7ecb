"""Whether arrays are the states of a model, and whether numbers are finite."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
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


def are_finite(arrays: Iterable[Array]) -> bool:
    """Whether no array holds NaN or inf; integers never do.

    By a sum of squares, in a fraction of the time of np.isfinite. The sum overflows for some finite
    arrays, too, which np.isfinite then decides.
    """
    for array in arrays:
        # `vdot`, since `dot` warns of an overflow.
        is_certain = array.dtype.kind != "f" or isfinite(np.vdot(array, array))
        if not is_certain and not np.isfinite(array).all():
            return False
    return True


def _check_state_array(spec: TensorSpec, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.shape != spec.shape or value.dtype != spec.dtype:
        got = f"{value.shape} {value.dtype}" if isinstance(value, np.ndarray) else type(value)
        raise StateError(
            f"state `{spec.name}` must be an array of shape {spec.shape} and dtype {spec.dtype}, "
            f"got {got}: assign what `model.state` of the same file returned"
        )
    if not np.isfinite(value).all():
        raise StateError(f"state `{spec.name}` must be finite, got NaN or inf: call reset()")
