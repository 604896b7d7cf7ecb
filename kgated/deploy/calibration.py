"""The sequences that a conversion is calibrated and checked on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from kgated_edge.data import SequenceData, load_npz
from kgated_edge.errors import EdgeError
from kgated_edge.frames import check_frames
from kgated_edge.manifest import TensorSpec

from kgated.deploy.verify import Arrays, Sequences, random_sequences

MOST_SEQUENCES = 64

Calibration: TypeAlias = str | Path | np.ndarray | Mapping[str, np.ndarray] | SequenceData | None


def given_or_random(
    calibration: Calibration, frames: tuple[TensorSpec, ...], size: int
) -> Sequences:
    """The sequences to compare on, each (T, *frame) by input name, of whole steps.

    Args:
        calibration: what the caller gave; None for seeded noise.
        frames: one frame of each input.
        size: frames per step.

    Raises:
        ValueError: other inputs, shapes or dtypes, NaN or inf, or sequences shorter than a step.
    """
    if calibration is None:
        return random_sequences(frames, size)
    data = _sequence_data(calibration, [frame.name for frame in frames])
    arrays = data.inputs or {frames[0].name: data.x}
    for frame in frames:
        x = arrays[frame.name]
        if x.shape[2:] != frame.shape or x.dtype != frame.dtype:
            raise ValueError(
                f"`calibration` must hold frames of shape {frame.shape} and dtype {frame.dtype}, "
                f"as the model takes them. Received: x of shape {x.shape} and dtype {x.dtype}"
            )
    count = len(data.lengths)
    chosen = np.linspace(0, count - 1, min(count, MOST_SEQUENCES)).astype(int)
    lengths = {n: int(data.lengths[n]) // size * size for n in chosen}
    if 0 in lengths.values():
        raise ValueError(
            f"`calibration` must hold sequences of {size} frames or more, which one step takes. "
            f"Received one of {int(data.lengths.min())}"
        )
    found = [{name: x[n, :length] for name, x in arrays.items()} for n, length in lengths.items()]
    for n, sequence in zip(chosen, found, strict=True):
        _check_frames(frames, sequence, f"`calibration`, sequence {n}")
    return found


def _check_frames(frames: tuple[TensorSpec, ...], sequence: Arrays, where: str) -> None:
    for frame in frames:
        try:
            check_frames(frame, sequence[frame.name])
        except EdgeError as error:
            raise ValueError(f"{where}: {error}") from None


def _sequence_data(calibration: Any, names: Sequence[str]) -> SequenceData:
    several = names if len(names) > 1 else ()
    if isinstance(calibration, str | Path):
        calibration = load_npz(calibration, several)
    if isinstance(calibration, Mapping):
        x, inputs = next(iter(calibration.values())), dict(calibration)
        calibration = SequenceData(x, np.full(len(x), x.shape[1]), None, inputs)
    if isinstance(calibration, np.ndarray):
        calibration = SequenceData(calibration, np.full(len(calibration), calibration.shape[1]))
    if several and set(calibration.inputs or ()) != set(names):
        raise ValueError(
            f"`calibration` must hold an array for each of the inputs {list(names)}. Received "
            "only one; give the path of an .npz file, or `SequenceData` with `inputs`"
        )
    return calibration
