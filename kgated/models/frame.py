"""A classifier of frames: a label for each frame, in a stream without end."""

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.described_model import DescribedSequential
from kgated.layers import LSTM
from kgated.models.sequence import Recurrent, check_shape


def frame_classifier(
    recurrent: Recurrent = LSTM,
    *,
    frames: np.ndarray,
    classes: int,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.3,
    seed: int = 0,
    dtype: str | None = None,
    name: str | None = None,
    info: DataInfo | None = None,
) -> keras.Sequential:
    """A model that answers every frame, for training with `fit_streaming`.

    (B, T, F) frames, T free, to (B, T, classes) probabilities: Normalization, `layers` times a
    recurrent layer and Dropout, Dense with softmax. There is no masking: a frame of zeros is a
    frame.

    Args:
        recurrent: as in `sequence_classifier`.
        frames: (n, F) real frames to take mean and variance from.
        classes: how many there are.
        units: the width of each recurrent layer.
        layers: how many recurrent layers.
        dropout: the share of a recurrent layer's outputs dropped in training.
        seed: of weights and dropout.
        dtype: Keras's policy of the recurrent layers; None: Keras's default.
        name: the model's name.
        info: names of classes and features, sample period and front end.

    Returns:
        The model, built, not compiled.

    Raises:
        ValueError: as from `sequence_classifier`.

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(100, 12)).astype("float32")
        >>> frame_classifier(GRU, frames=frames, classes=3).output_shape
        (None, None, 3)
    """
    check_shape(frames, classes, layers)
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=3 * layers + 1).tolist())
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(frames)
    stack: list[keras.Layer] = [keras.Input((None, frames.shape[1])), scale]
    for n in range(layers):
        stack += [
            recurrent(
                units,
                return_sequences=True,
                kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                dtype=dtype,
                name=f"recurrent_{n + 1}",
            ),
            keras.layers.Dropout(dropout, seed=next(seeds), name=f"dropout_{n + 1}"),
        ]
    glorot = keras.initializers.GlorotUniform(next(seeds))
    stack.append(
        keras.layers.Dense(classes, activation="softmax", kernel_initializer=glorot, name="classes")
    )
    if info is None or not (plain := info.to_plain()):
        return keras.Sequential(stack, name=name)
    return DescribedSequential(stack, name=name, data_info=plain)
