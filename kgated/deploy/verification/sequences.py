"""The sequences that a conversion is calibrated and checked on."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.dataset import SequenceData, from_arrays, load_npz
from kgated_edge.format.manifest import TensorSpec
from kgated_edge.runtime.input_writer import check_frames

from kgated.deploy.verification.compare import Arrays, Sequences, random_sequences
from kgated.errors import ConversionError

STEPS, FEWEST = 255, 16  # of int8: what all features share, what one needs to tell its values apart


NAMED = 8


MOST_SEQUENCES = 64

Calibration: TypeAlias = str | Path | np.ndarray | Mapping[str, np.ndarray] | SequenceData | None


def given_or_random(
    calibration: Calibration,
    frames: tuple[TensorSpec, ...],
    size: int,
    single: tuple[str, ...] = (),
) -> Sequences:
    """The sequences to compare on, each (T, *frame) by input name, of whole steps.

    Args:
        calibration: what the caller gave; None for seeded noise.
        frames: one frame of each input.
        size: frames per step.
        single: names of inputs that have one value (*frame) for the sequence.

    Raises:
        ValueError: other inputs, shapes or dtypes, NaN or inf, or sequences shorter than a step.
    """
    if calibration is None:
        return random_sequences(frames, size)
    data = _sequence_data(calibration, [frame.name for frame in frames], single)
    arrays = data.inputs or {frames[0].name: data.x}
    for frame in frames:
        x, axes = arrays[frame.name], 1 if frame.name in single else 2
        if x.shape[axes:] != frame.shape or x.dtype != frame.dtype:
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
    found = [
        {name: x[n] if name in single else x[n, :length] for name, x in arrays.items()}
        for n, length in lengths.items()
    ]
    for n, sequence in zip(chosen, found, strict=True):
        rows = {name: x[None] if name in single else x for name, x in sequence.items()}
        _check_frames(frames, rows, f"`calibration`, sequence {n}")
    return found


def _check_frames(frames: tuple[TensorSpec, ...], sequence: Arrays, where: str) -> None:
    for frame in frames:
        try:
            check_frames(frame, sequence[frame.name])
        except EdgeError as error:
            raise ValueError(f"{where}: {error}") from None


def _sequence_data(calibration: Any, names: Sequence[str], single: tuple[str, ...]) -> SequenceData:
    several = names if len(names) > 1 else ()
    if isinstance(calibration, str | Path):
        return load_npz(calibration, several, single, targets=False)
    inputs = calibration.inputs if isinstance(calibration, SequenceData) else calibration
    if several and not (isinstance(inputs, Mapping) and set(names) <= set(inputs)):
        raise ValueError(
            f"`calibration` must hold an array for each of the inputs {list(names)}. Received "
            "other ones; give the path of an .npz file, or arrays by name"
        )
    if isinstance(calibration, SequenceData):
        return calibration
    try:
        arrays = calibration if isinstance(calibration, Mapping) else {"x": calibration}
        return from_arrays(arrays, several, single, targets=False)
    except DataError as error:
        raise ValueError(f"`calibration`: {error}") from None


def warn_of_small_features(sequences: Sequences, frames: Sequence[TensorSpec]) -> None:
    """Warn of features that int8 frames hardly resolve, since another spans much more.

    An int8 tensor has one scale: that of its whole range. A feature that spans few of its steps
    loses what it tells, whatever the model does with it afterwards.
    """
    for frame in frames:
        if frame.dtype != "float32" or len(frame.shape) != 1:
            continue
        values = np.concatenate([s[frame.name].reshape(-1, *frame.shape) for s in sequences])
        step = (max(values.max(), 0.0) - min(values.min(), 0.0)) / STEPS
        span = np.ptp(values, axis=0)
        small = np.flatnonzero((span > 0) & (span < FEWEST * step))
        if len(small):
            names = ", ".join(map(str, small[:NAMED])) + (", ..." if len(small) > NAMED else "")
            warnings.warn(
                f"in int8, all features of input `{frame.name}` share one scale, and {len(small)} "
                f"of {len(span)} span fewer than {FEWEST} of its {STEPS + 1} steps: features "
                f"{names}. Bring features to like sizes before the model, or take "
                '`quantize="int16x8"` or "dynamic"',
                stacklevel=4,
            )


def check_constant_features(model: keras.Model, skip: Sequence[str]) -> None:
    """Refuse, for integers, a Normalization that blows up features which never changed.

    Their deviation is 0, for which Keras divides by its epsilon: times 10 million, beside which
    one integer scale leaves nothing of the other features.

    Raises:
        ConversionError: with the layer and the features.
    """
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.layers.Normalization) or layer.name in skip:
            continue
        deviation = np.sqrt(keras.ops.convert_to_numpy(layer.variance))
        constant = np.flatnonzero(deviation <= keras.config.epsilon())
        if len(constant):
            raise ConversionError(
                f"layer `{layer.name}` divides features {constant[:NAMED].tolist()} by "
                f"{keras.config.epsilon():g}, since they never changed while it adapted; integers "
                "can't hold them beside the others. Leave the features out, or give them a "
                f'variance of 1, or take `quantize="dynamic"`, or `skip=["{layer.name}"]`'
            )
