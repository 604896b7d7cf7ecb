"""A classifier of frames: a label for each frame, in a stream without end."""

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.layers import LSTM
from kgated.models.sequence import Recurrent, classifier_stack, described


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
    stack = classifier_stack(
        recurrent, frames, classes, units, layers, dropout, seed, dtype, each=True
    )
    return described([keras.Input((None, frames.shape[1])), *stack], name, info)
