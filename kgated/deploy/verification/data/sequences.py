"""Evaluation sequences: the data that a conversion is calibrated and verified on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.arrays import Data, as_sequences
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import check_frames

Arrays = dict[str, Array]
Sequences = list[Arrays]
"""Each (T, *frame) by input name, T a multiple of the frames per step."""
Calibration: TypeAlias = Data | None

MAX_SEQUENCES = 64
RANDOM_SEQUENCES, RANDOM_STEPS = 4, 32
OVERFLOWS_FROM = 1e29


def evaluation_sequences(
    calibration: Calibration,
    frames: tuple[TensorSpec, ...],
    size: int,
    single: tuple[str, ...] = (),
) -> Sequences:
    """The sequences to compare on, each (T, *frame) by input name, of whole steps.

    Args:
        calibration: the caller's data; None for seeded noise.
        frames: one frame of each input.
        size: frames per step.
        single: names of inputs that have one value (*frame) for the sequence.

    Raises:
        ValueError: different inputs, shapes or dtypes, NaN or inf, numbers that overflow in
            LiteRT, or sequences shorter than a step.
    """
    if calibration is None:
        return random_sequences(frames, size)
    data = _sequence_data(calibration, [frame.name for frame in frames], single)
    arrays = data.inputs or {frames[0].name: data.x}
    _check_frame_types(frames, arrays, single)
    lengths = _chosen_lengths(data, size)
    sequences = [
        {name: x[n] if name in single else x[n, :length] for name, x in arrays.items()}
        for n, length in lengths.items()
    ]
    for n, sequence in zip(lengths, sequences, strict=True):
        rows = {name: x[None] if name in single else x for name, x in sequence.items()}
        _check_values(frames, rows, f"`calibration`, sequence {n}")
    dtypes = {frame.name: frame.dtype for frame in frames}  # ids may be of another width
    return [{name: x.astype(dtypes[name], copy=False) for name, x in s.items()} for s in sequences]


def random_sequences(frames: tuple[TensorSpec, ...], size: int, seed: int = 0) -> Sequences:
    """Sequences of seeded normal noise, or random tokens, for conversions without data."""
    rng, count = np.random.default_rng(seed), RANDOM_STEPS * size
    return [{f.name: random_frames(rng, f, count) for f in frames} for _ in range(RANDOM_SEQUENCES)]


def random_frames(rng: np.random.Generator, frame: TensorSpec, count: int) -> Array:
    """Frames of normal noise, or tokens: (count, *frame)."""
    shape = (count, *frame.shape)
    if frame.vocabulary is not None:
        return rng.integers(frame.vocabulary, size=shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)


def group_by_length(sequences: Sequences, name: str | None = None) -> Iterator[Sequences]:
    """The sequences grouped by their number of frames; `name` is an input that has frames."""
    lengths = [len(sequence[name or next(iter(sequence))]) for sequence in sequences]
    for length in dict.fromkeys(lengths):
        yield [s for s, n in zip(sequences, lengths, strict=True) if n == length]


def batches(sequences: Sequences, batch: int) -> Iterator[tuple[Sequences, int]]:
    """Batches of sequences, and how many rows of each are real; repetitions fill the last one."""
    total = len(sequences)
    for n in range(0, total, batch):
        yield [sequences[k % total] for k in range(n, n + batch)], min(batch, total - n)


def stack_rows(rows: Sequences) -> Arrays:
    """The rows of one call stacked; a single row as it is."""
    if len(rows) == 1:
        return rows[0]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _chosen_lengths(data: SequenceData, size: int) -> dict[int, int]:
    """The length of each chosen sequence in frames, in whole steps, by its index."""
    count = len(data.lengths)
    chosen = np.linspace(0, count - 1, min(count, MAX_SEQUENCES)).astype(int)
    lengths = {int(n): int(data.lengths[n]) // size * size for n in chosen}
    if 0 in lengths.values():
        raise ValueError(
            f"`calibration` must hold sequences of {size} frames or more, which one step takes. "
            f"Received one of {int(data.lengths.min())}"
        )
    return lengths


def _check_frame_types(
    frames: tuple[TensorSpec, ...], arrays: Mapping[str, Array], single: tuple[str, ...]
) -> None:
    for frame in frames:
        x, axes = arrays[frame.name], 1 if frame.name in single else 2
        are_ids = frame.vocabulary is not None and x.dtype.kind in "iu"
        if x.shape[axes:] != frame.shape or not (are_ids or x.dtype == frame.dtype):
            raise ValueError(
                f"`calibration` must hold frames of shape {frame.shape} and dtype {frame.dtype}, "
                f"as the model takes them. Received: x of shape {x.shape} and dtype {x.dtype}"
            )


def _check_values(frames: tuple[TensorSpec, ...], sequence: Arrays, where: str) -> None:
    for frame in frames:
        try:
            check_frames(frame, sequence[frame.name])
        except EdgeError as error:
            raise ValueError(f"{where}: {error}") from None
        largest = float(np.abs(sequence[frame.name]).max(initial=0)) if frame.is_real else 0.0
        if largest > OVERFLOWS_FROM:
            raise ValueError(
                f"{where}: input `{frame.name}` holds numbers up to {largest:.3g}, and LiteRT's "
                "layers return NaN from about 1e30. Clip them below 1e20, on the device too, or "
                "leave the sequence out"
            )


def _sequence_data(calibration: Any, names: Sequence[str], single: tuple[str, ...]) -> SequenceData:
    several = names if len(names) > 1 else ()
    inputs = calibration.inputs if isinstance(calibration, SequenceData) else calibration
    is_path = isinstance(calibration, str | Path)
    if several and not is_path and not (isinstance(inputs, Mapping) and set(names) <= set(inputs)):
        raise ValueError(
            f"`calibration` must hold an array for each of the inputs {list(names)}. Received "
            "different ones; give the path of an .npz file, or arrays by name"
        )
    try:
        return as_sequences(calibration, several, single, targets=False)
    except DataError as error:
        raise ValueError(f"`calibration`: {error}") from None
