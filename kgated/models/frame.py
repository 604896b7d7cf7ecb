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
    seed: int = 0,
    dtype: str | None = None,
    name: str | None = None,
    info: DataInfo | None = None,
) -> keras.Sequential:
    """Build a model that classifies every frame, for training with `fit_streaming`.

    The model maps (B, T, F) frames of any T to (B, T, classes) probabilities. Its layers are
    Normalization, `layers` times a recurrent layer and Dropout, and Dense with softmax. There is no
    masking: a frame of zeros counts as a frame.

    Args:
        recurrent: as in `sequence_classifier`.
        frames: (n, F) real frames, from which mean and variance are computed.
        classes: the number of classes.
        units: the width of each recurrent layer.
        layers: the number of recurrent layers.
        dropout: the fraction of a recurrent layer's outputs dropped in training, 0 to below 1.
        seed: of weights and dropout.
        dtype: Keras's dtype policy of the recurrent layers. None: Keras's default.
        name: the model's name.
        info: names of classes and features, sample period and front end.

    Returns:
        The model, built, not compiled.

    Raises:
        ValueError: as in `sequence_classifier`.

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(100, 12)).astype("float32")
        >>> frame_classifier(GRU, frames=frames, classes=3).output_shape
        (None, None, 3)
    """
    stack = classifier_stack(
        recurrent, frames, classes, units, layers, dropout, seed, dtype, each=True
    )
    return described([keras.Input((None, frames.shape[1])), *stack], name, info)
