"""Sessions that step together get the results that each gets alone, or the file is refused."""

from pathlib import Path

import numpy as np
from kgated_edge import SessionPool
from kgated_edge.errors import EdgeError
from kgated_edge.runtime.batching import as_dict, split_steps, unwrap_single

from kgated.deploy.recipe import Recipe
from kgated.deploy.verification.data.sequences import Arrays, Sequences
from kgated.errors import ConversionError

STEPS = 4
FLOAT_LIMIT = 1e-5  # relative to max(1, |output|), of numbers that are summed in another order


def check_sessions(path: Path, recipe: Recipe, sequences: Sequences) -> None:
    """Compare the steps of sessions together with those of each session alone.

    Args:
        path: the file, with its manifest.
        recipe: what it was made by.
        sequences: to take frames from, other ones for neighbouring sessions.

    Raises:
        ConversionError: they differ: in integers at all, in float by more than rounding; the file
            does not run.
    """
    try:
        pool = SessionPool(path)
    except EdgeError as error:
        raise ConversionError(f"`sessions` makes no file that runs: {error}") from None
    for size in recipe.session_sizes:
        difference = _largest_difference(pool, _blocks(pool, sequences, size))
        if not difference <= _limit(recipe):
            raise ConversionError(
                f"`sessions` can't take streams together: results of {size} sessions differ from "
                f"those of each alone by {difference:.2g}; convert without `sessions`"
            )


def _limit(recipe: Recipe) -> float:
    """Rounding to integers may differ by a step after layers in float."""
    if not recipe.is_static:
        return FLOAT_LIMIT
    return recipe.quantization.golden_floor if recipe.skip else 0.0


def _blocks(pool: SessionPool, sequences: Sequences, size: int) -> list[Arrays]:
    """The frames (size, *block) of each step, by input."""
    manifest = pool.manifest
    runs = [
        split_steps(manifest.frames, manifest.frames_per_step, unwrap_single(sequence))
        for sequence in sequences[:size]
    ]
    steps = []
    for step in range(STEPS):
        rows = [runs[n % len(runs)] for n in range(size)]
        blocks = [
            as_dict(manifest.frames, run[(step + n // len(runs)) % len(run)])
            for n, run in enumerate(rows)
        ]
        steps.append({name: np.stack([block[name] for block in blocks]) for name in blocks[0]})
    return steps


def _largest_difference(pool: SessionPool, steps: list[Arrays]) -> float:
    """Over all steps, relative to max(1, |output|)."""
    count = len(next(iter(steps[0].values())))
    together, separate = ([pool.open() for _ in range(count)] for _ in range(2))
    errors = []
    for frames in steps:
        results = as_dict(pool.manifest.outputs, pool.step(together, unwrap_single(frames)))
        for n, session in enumerate(separate):
            block = {name: rows[n] for name, rows in frames.items()}
            expected = as_dict(pool.manifest.outputs, session.step(unwrap_single(block)))
            for name, y in expected.items():
                scale = max(1.0, float(np.abs(y).max()))
                errors.append(float(np.abs(results[name][n] - y).max()) / scale)
    return float(np.max(errors))
