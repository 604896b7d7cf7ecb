"""Whether an operation acts on each frame alone, by trial: on frames together and one at a time."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

FRAMES = (5, 509)  # two lengths: `x[:, :100]` is x for the first one alone
MAX_NUMBERS = 10**6
COMPARED = 5  # frames, evenly spread


def acts_on_frames_alone(
    operation: Any, args: Any, kwargs: Any, has_time: Callable[[Any], bool]
) -> bool:
    """Whether each result (B, T, ...) depends on the frame at its own time alone, by trial.

    Args:
        operation: of `keras.ops`.
        args: of its symbolic call, tensors and other values.
        kwargs: of the call.
        has_time: whether a symbolic tensor has a time axis.

    Returns:
        True where random frames, at two lengths, give the results that each of them gives alone.
        False where they don't, or where the operation takes no other number of frames.
    """
    size = max((_frame_size(x) for x in _symbolic(args, kwargs)), default=1)
    lengths = {max(2, min(length, MAX_NUMBERS // size)) for length in FRAMES}
    try:
        return all(_is_alike(operation, args, kwargs, has_time, n) for n in lengths)
    except Exception:
        return False  # it takes no other number of frames


def _is_alike(
    operation: Any, args: Any, kwargs: Any, has_time: Callable[[Any], bool], length: int
) -> bool:
    rng = np.random.default_rng(0)
    values = {
        id(x): _values(rng, x, length if has_time(x) else x.shape[1])
        for x in _symbolic(args, kwargs)
    }
    timed = {id(x) for x in _symbolic(args, kwargs) if has_time(x)}

    def results(frames: slice) -> list[np.ndarray]:
        parts = {n: x[:, frames] if n in timed else x for n, x in values.items()}
        new_args, new_kwargs = keras.tree.map_structure(
            lambda x: ops.convert_to_tensor(parts[id(x)]) if id(x) in parts else x, (args, kwargs)
        )
        return [_array(y) for y in keras.tree.flatten(operation(*new_args, **new_kwargs))]

    together = results(slice(None))
    if not all(np.isfinite(y).any() for y in together):
        return False  # numbers that say nothing
    for n in np.unique(np.linspace(0, length - 1, COMPARED).astype(int)):
        single = results(slice(n, n + 1))
        if not all(map(_equal, single, (y[:, n : n + 1] for y in together))):
            return False
    return True


def _symbolic(args: Any, kwargs: Any) -> list[Any]:
    leaves = keras.tree.flatten((args, kwargs))
    return [x for x in leaves if isinstance(x, keras.KerasTensor)]


def _frame_size(x: Any) -> int:
    return int(np.prod([n or 1 for n in (x.shape[0], *x.shape[2:])]))


def _values(rng: np.random.Generator, x: Any, length: int | None) -> np.ndarray:
    """Random values of a tensor (B, T, ...): numbers around 0, small integers, or truth values."""
    shape = (x.shape[0] or 1, length or 1, *x.shape[2:])
    if "float" in x.dtype:
        return rng.normal(0, 1.5, shape).astype(x.dtype)
    return rng.integers(0, 2, shape).astype(x.dtype)


def _array(y: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(y))


def _equal(single: np.ndarray, among: np.ndarray) -> bool:
    alike = single.shape == among.shape and single.ndim > 1
    return alike and np.allclose(single, among, rtol=1e-4, atol=1e-5, equal_nan=True)
