"""What becomes of a model after a step that returned NaN or inf."""

from typing import Any, Protocol

import numpy as np

from kgated_edge.errors import StateError
from kgated_edge.format.manifest import Manifest

_HUGE = 1e10  # above what sensors measure


class Resettable(Protocol):
    """A model with a state."""

    @property
    def manifest(self) -> Manifest:
        """The manifest in the file."""

    @property
    def has_finite_state(self) -> bool:
        """As in `EdgeModel`."""

    def reset(self) -> None:
        """Sets the state to that before the first frame."""


def reset_not_finite(model: Resettable) -> bool:
    """Resets a model whose state holds NaN or inf, or is internal; returns whether it did.

    For a model whose result is not finite. Some results are so by themselves, such as the logarithm
    of 0: then a state that is finite is kept.
    """
    try:
        if model.has_finite_state:
            return False
    except StateError:  # internal: only the result is known
        pass
    model.reset()
    return True


def explain_not_finite(frames: Any) -> str:
    """What happened in a step whose result is not finite, and the way out.

    Args:
        frames: the argument of the step.
    """
    arrays = frames.values() if isinstance(frames, dict) else (frames,)
    real = [x for x in arrays if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size]
    largest = max((float(np.abs(x).max()) for x in real), default=0.0)
    if largest >= _HUGE:
        return (
            f"the model returned NaN or inf, after a frame with numbers up to {largest:.3g}: clip "
            "such numbers before they come here"
        )
    return (
        "the model returned NaN or inf, and this frame has no huge numbers: look for a layer whose "
        "results can be infinite, such as a logarithm of 0, and for huge numbers in earlier frames"
    )
