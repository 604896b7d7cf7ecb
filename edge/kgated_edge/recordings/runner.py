"""Runs a model over recordings, from zero state each."""

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.events.scores import make_scorer
from kgated_edge.events.smoothing import Scores
from kgated_edge.format.manifest import Manifest
from kgated_edge.ingest.runner import live_blocks
from kgated_edge.ingest.sources import form_of
from kgated_edge.runtime.not_finite import explain_not_finite
from kgated_edge.runtime.state_checks import are_finite
from kgated_edge.runtime.stream_model import EdgeModel


def recorded_blocks(manifest: Manifest, path: Path, options: Mapping[str, Any]) -> Iterator[Any]:
    """The argument of each step of a model, from the file of a recording.

    Args:
        manifest: of the model.
        path: the file.
        options: arguments of `live_blocks`.

    Raises:
        DataError: the file cannot be read, or is not a recording for this model.
    """
    try:
        with path.open("rb") as stream:
            yield from live_blocks(manifest, stream, form_of(path), **{"rate": None, **options})
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    except EdgeError as error:
        raise DataError(f"{path}: {error}") from None


def scores_of(
    model: EdgeModel,
    path: Path,
    score: str,
    options: Mapping[str, Any],
    times: "array[int] | None" = None,
) -> Iterator[Scores]:
    """Yields the scores (C,) of each step of a recording, from zero state.

    Args:
        model: it is reset.
        path: the file.
        score: one of `SCORES`.
        options: arguments of `live_blocks`.
        times: receives the time of each step in ns.

    Raises:
        DataError: as from `recorded_blocks`; or the recording is too short for a step, or has
            numbers so large that scores are NaN or infinite.
    """
    model.reset()
    scorer, steps = make_scorer(model.manifest, score), 0
    try:
        for block in recorded_blocks(model.manifest, path, options):
            start = perf_counter_ns()
            result = model.step(block)
            if times is not None:
                times.append(perf_counter_ns() - start)
            steps, scores = steps + 1, scorer(block, result)
            if not are_finite([scores]):
                raise DataError(f"{path}: step {steps}: {explain_not_finite(block)}")
            yield scores
    except DataError:
        raise
    except EdgeError as error:
        raise DataError(f"{path}: {error}") from None
    if steps == 0:
        raise DataError(f"{path}: the recording is shorter than one step of the model: drop it")


def stored_scores(
    model: EdgeModel, path: Path, score: str, options: Mapping[str, Any]
) -> npt.NDArray[np.float32]:
    """All scores (steps, C) of a recording; see `scores_of`."""
    content = bytearray()
    for row in scores_of(model, path, score, options):
        content += row.tobytes()
    size = 1 if score != "output" else model.manifest.outputs[0].size
    return np.frombuffer(content, np.float32).reshape(-1, size)
