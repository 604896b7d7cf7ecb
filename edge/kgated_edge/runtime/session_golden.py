"""The golden frames of a file through its signatures for many sessions."""

from dataclasses import replace

import numpy as np

from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.batching import as_dict, split_steps, unwrap_single
from kgated_edge.runtime.results import in_order
from kgated_edge.runtime.session_pool import SessionPool


def pool_golden_outputs(pool: SessionPool, count: int) -> dict[str, Array]:
    """This device's outputs for the golden frames, of so many sessions that step together.

    Args:
        pool: of the file.
        count: sessions, each of which gets the same frames.

    Returns:
        by output name (count, n, *output), the last n results of each session, as many as the file
        has expected ones.
    """
    manifest = pool.manifest
    frames = unwrap_single(manifest.golden.frames)
    sessions, results = [pool.open() for _ in range(count)], []
    for block in split_steps(manifest.frames, manifest.frames_per_step, frames):
        blocks = as_dict(manifest.frames, block)
        rows = {name: np.stack([np.asarray(block)] * count) for name, block in blocks.items()}
        results.append(as_dict(manifest.outputs, pool.step(sessions, unwrap_single(rows))))
    batched, total = replace(manifest, batch=count), len(results) * manifest.results_per_step
    outputs = {
        o.name: in_order(batched, np.stack([result[o.name] for result in results]), total)
        for o in manifest.outputs
    }
    return {name: outputs[name][:, -len(y) :] for name, y in manifest.golden.outputs.items()}
