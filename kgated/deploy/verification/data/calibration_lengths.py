"""Adds calibration sequences of lengths that the given ones lack.

A text of 12 tokens in a model for 40 leaves 28 steps masked. If no calibration sequence is longer,
nothing of those steps moves: their ranges would be empty, and a longer text would saturate.
If all have 40, the means and weighted sums over a few real frames, which spread much wider than
those over 40, would saturate instead.
"""

from typing import Any

import keras
import numpy as np

from kgated.deploy.verification.data.layout import SequenceLayout
from kgated.deploy.verification.data.sequences import Arrays, Sequences
from kgated.keras_internals.graph import mask_of, replay

MAX_SEQUENCES = 16
MAX_BEGINNINGS = 64


def other_lengths(model: keras.Model, layout: SequenceLayout, sequences: Sequences) -> Sequences:
    """Sequences of lengths that the given ones lack, made from their real frames.

    Args:
        model: the Keras model, whose masks say which frames are padding.
        layout: of the file.
        sequences: those given for calibration.

    Returns:
        Where some steps have no real frame in any sequence: at most `MAX_SEQUENCES` with frames
        repeated up to the file's length. Where a file takes shorter sequences and all frames are
        real: `MAX_BEGINNINGS`, from one frame up. Else none.
    """
    real = _real_frames(model, layout, sequences)
    if not real.any(axis=0).all():
        longest = np.argsort(-real.sum(axis=1), kind="stable")[:MAX_SEQUENCES]
        return [_repeated(layout, sequences[n], real[n]) for n in longest if real[n].any()]
    return _beginnings(layout, sequences) if layout.padded and real.all() else []


def _beginnings(layout: SequenceLayout, sequences: Sequences) -> Sequences:
    """The first frames of some sequences, most of them few, whose means spread most."""
    lengths = np.geomspace(1, layout.size, MAX_BEGINNINGS, endpoint=False).astype(int)
    order = np.resize(np.arange(len(sequences)), MAX_BEGINNINGS)
    return [layout.section(sequences[n], 0, size) for n, size in zip(order, lengths, strict=True)]


def _real_frames(model: keras.Model, layout: SequenceLayout, sequences: Sequences) -> np.ndarray:
    """(N, T) boolean: which frames are no padding, by the lengths and by the model's masks."""
    lengths = np.array([layout.length(sequence) for sequence in sequences])
    real = np.arange(layout.size) < lengths[:, None]
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in model.inputs]
    masks = _masks(model, inputs)
    if not masks:
        return real
    padded = [layout.pad(sequence, layout.size) for sequence in sequences]
    tensors = [keras.ops.convert_to_tensor(np.stack([x[n] for x in padded])) for n in layout.inputs]
    for mask in keras.tree.flatten(keras.Model(inputs, masks)(tensors)):
        array = keras.ops.convert_to_numpy(mask)
        if array.shape == real.shape:
            real &= array.astype(bool)
    return real


def _masks(model: keras.Model, inputs: list[Any]) -> list[Any]:
    """The symbolic masks (B, T) in the graph of layers, each once."""
    masks: dict[int, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        results = layer(*args, **kwargs)
        for mask in map(mask_of, keras.tree.flatten(results)):
            if mask is not None and len(mask.shape) == 2:
                masks[id(mask)] = mask
        return results

    replay(model, inputs if len(inputs) > 1 else inputs[0], call)
    return list(masks.values())


def _repeated(layout: SequenceLayout, sequence: Arrays, real: np.ndarray) -> Arrays:
    """A sequence of the file's length out of the real frames of one."""
    filled = dict(sequence)
    for name in layout.timed:
        frames = sequence[name][real[: len(sequence[name])]]
        filled[name] = np.resize(frames, (layout.size, *frames.shape[1:]))
    return filled
