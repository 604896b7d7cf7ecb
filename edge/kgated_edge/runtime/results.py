"""A sequence of any length in steps of several frames, and the results of its frames in order."""

from typing import Any

import numpy as np

from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.batching import as_dict, count_frames, split_steps, unwrap_single


def steps_and_results(
    manifest: Manifest, frames: Any, finite: bool = True
) -> tuple[list[Any], int]:
    """The argument of each step of a sequence, and how many results are of real frames.

    Where a step has several results and the state is external, the last step is filled with copies
    of the last frame; else an incomplete step is left out.

    Args:
        manifest: of a stream.
        frames: as `EdgeModel.run` takes them.
        finite: whether to refuse NaN and inf.

    Raises:
        FrameError: as from `split_steps`.
    """
    size, batch, each = manifest.frames_per_step, manifest.batch, manifest.results_per_step
    if each == 1 or manifest.state == "internal":
        steps = split_steps(manifest.frames, size, frames, batch, finite)
        return steps, len(steps) * each
    arrays = as_dict(manifest.frames, frames)
    axis = 0 if batch == 1 else 1
    filled = {name: fill(array, size, axis) for name, array in arrays.items()}
    steps = split_steps(manifest.frames, size, unwrap_single(filled), batch, finite)
    return steps, count_frames(arrays, batch) // manifest.frames_per_result


def fill(array: Any, size: int, axis: int = 0) -> Any:
    """Frames, with the last one repeated up to a multiple of `size`; other values as they are."""
    shape: tuple[int, ...] = getattr(array, "shape", ())
    if len(shape) <= axis or not shape[axis] or shape[axis] % size == 0:
        return array
    last = np.take(array, [-1], axis=axis)
    return np.concatenate([array, *[last] * (-shape[axis] % size)], axis=axis)


def in_order(manifest: Manifest, results: Array, count: int) -> Array:
    """The first results of a sequence.

    Args:
        manifest: of a stream.
        results: of each step, (steps, *answer).
        count: how many are of real frames.

    Returns:
        (count, *output), with a batch (B, count, *output).
    """
    if manifest.batch > 1:
        results = np.moveaxis(results, 0, 1)
    if manifest.results_per_step > 1:
        axis = 0 if manifest.batch == 1 else 1
        shape = results.shape
        results = results.reshape(*shape[:axis], -1, *shape[axis + 2 :])
        return results[:, :count] if axis else results[:count]
    return results
