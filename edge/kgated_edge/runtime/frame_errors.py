"""Errors for frames that a writer refused, with the reason and a hint."""

import operator
from typing import Any

import numpy as np

from kgated_edge.errors import FrameError, NotFiniteError
from kgated_edge.format.tensor_spec import Array, TensorSpec

BOOLS = (bool, np.bool_)


def explain(spec: TensorSpec, frame: Any) -> FrameError:
    """The error for a frame that a writer refused."""
    return _explain_token(spec, frame) if spec.is_token else _explain_array(spec, frame)


def takes_dtype(spec: TensorSpec, array: Array) -> bool:
    """Whether an array has the tensor's dtype, or integers of another width where those are ids."""
    return array.dtype == spec.dtype or (spec.vocabulary is not None and array.dtype.kind in "iu")


def _explain_array(spec: TensorSpec, frame: Any) -> FrameError:
    rule = f"a frame must be an array of shape {shape_text(*spec.shape)} and dtype {spec.dtype}"
    if not isinstance(frame, np.ndarray):
        return frame_error(rule, frame, f"pass np.asarray(frame, np.{spec.dtype})")
    if frame.shape == (1, *spec.shape):
        return frame_error(rule, frame, "drop the batch axis: frame[0]")
    if frame.shape != spec.shape:
        return frame_error(rule, frame, "pass one frame of the shape that the model was trained on")
    if not takes_dtype(spec, frame):
        return frame_error(rule, frame, cast_hint(spec, "frame"))
    if spec.vocabulary is not None:
        bad = frame[(frame < 0) | (frame >= spec.vocabulary)]
        return _outside(spec.vocabulary, bad[0])
    bad = np.argwhere(~np.isfinite(frame))
    if len(bad):
        place = tuple(map(int, bad[0]))
        return NotFiniteError(
            f"a frame must be finite, got {frame[place]} at {shape_text(*place)}: "
            "skip the frame or repeat the last good one"
        )
    return frame_error(rule, frame, "pass a plain NumPy array")


def _explain_token(spec: TensorSpec, token: Any) -> FrameError:
    try:
        is_index = not isinstance(token, BOOLS) and operator.index(token) is not None
    except TypeError:
        is_index = False
    if not is_index:
        return frame_error("a frame must be one integer token", token, "pass an int")
    return _outside(spec.vocabulary or 1, operator.index(token))


def _outside(vocabulary: int, token: int) -> FrameError:
    return FrameError(
        f"a token must be in 0..{vocabulary - 1}, got {token}: "
        "encode with the vocabulary that the model was trained on"
    )


def frame_error(rule: str, received: Any, hint: str) -> FrameError:
    """The error for what was received, with a hint."""
    return FrameError(f"{rule}, got {describe(received)}: {hint}")


def describe(value: Any) -> str:
    """A value, in an error message."""
    if isinstance(value, np.ndarray):
        return f"shape {shape_text(*value.shape)} and dtype {value.dtype}"
    return f"a {type(value).__name__}"


def cast_hint(spec: TensorSpec, name: str) -> str:
    """A hint for a wrong dtype."""
    return f"convert it: {name}.astype(np.{spec.dtype})"


def shape_text(*sizes: object) -> str:
    """A shape, in an error message."""
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
