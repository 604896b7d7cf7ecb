"""A classifier that labels each frame of an unbounded stream."""

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
    stride: int = 1,
    seed: int = 0,
    dtype: str | None = None,
    name: str | None = None,
    info: DataInfo | None = None,
) -> keras.Sequential:
    """Build a model that classifies every frame, for training with `fit_streaming`.

    The model maps (B, T, F) frames of any T to (B, T, classes) probabilities. Its layers are
    Normalization, `layers` times a recurrent layer and Dropout, and Dense with softmax. There is no
    masking: a frame of zeros counts as a frame.

    With a `stride` of k, a Conv1D with ReLU joins each k frames before the first recurrent layer,
    and the model maps (B, T, F) to (B, T / k, classes). It needs a k-th of the recurrent steps,
    which makes room for more units, and answers after each k-th frame.

    Args:
        recurrent: as in `sequence_classifier`.
        frames: (n, F) real frames, from which mean and variance are computed.
        classes: the number of classes.
        units: the width of each recurrent layer.
        layers: the number of recurrent layers.
        dropout: the fraction of a recurrent layer's outputs dropped in training, 0 to below 1.
        stride: the frames per answer, k; above 1, they are joined into `units` features.
        seed: of weights and dropout.
        dtype: Keras's dtype policy of the recurrent layers. None: Keras's default.
        name: the model's name.
        info: names of classes and features, sample period and front end.

    Returns:
        The model, built, not compiled.

    Raises:
        ValueError: as in `sequence_classifier`, or `stride` is below 1.

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(100, 12)).astype("float32")
        >>> frame_classifier(GRU, frames=frames, classes=3).output_shape
        (None, None, 3)
    """
    if stride < 1:
        raise ValueError(f"`stride` must be at least 1. Received: {stride}")
    scale, *stack = classifier_stack(
        recurrent, frames, classes, units, layers, dropout, seed, dtype, each=True
    )
    front = [] if stride == 1 else [_joined_frames(units, stride, seed)]
    inputs = keras.Input((None, frames.shape[1]))
    return described([inputs, scale, *front, *stack], name, info)


def _joined_frames(units: int, stride: int, seed: int) -> keras.layers.Layer:
    """A layer from each `stride` frames to `units` features."""
    initializer = keras.initializers.GlorotUniform(seed)
    return keras.layers.Conv1D(
        units, stride, stride, activation="relu", kernel_initializer=initializer, name="front"
    )
