"""Classifiers of sequences that can stream."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.cells.minimal import MinimalCell
from kgated.data.moments import scaling_moments
from kgated.described_model import DescribedSequential
from kgated.layers import LSTM

Recurrent = Callable[..., keras.Layer]


def sequence_classifier(
    recurrent: Recurrent = LSTM,
    *,
    frames: np.ndarray,
    classes: int,
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.5,
    seed: int = 0,
    dtype: str | None = None,
    name: str | None = None,
    info: DataInfo | None = None,
) -> keras.Sequential:
    """Build a model that classifies a sequence after its last frame, and that can stream.

    The model maps (B, T, F) frames of any T to (B, classes) probabilities. Its layers are Masking,
    Normalization, `layers` times a recurrent layer and Dropout, and Dense with softmax.

    A frame of zeros is padding and is skipped, so that padding does not change the result. The
    frames are not normalized beforehand: their mean and variance are part of the model. A feature
    that is constant in `frames` gets a variance of 1.

    Args:
        recurrent: called as `recurrent(units, return_sequences=..., kernel_initializer=...,
            recurrent_initializer=..., dtype=..., name=...)`: `kgated.LSTM`, `PeepholeLSTM`, `GRU`
            or Keras's.
        frames: (n, F) real frames without padding, from which mean and variance are computed.
        classes: the number of classes.
        units: the width of each recurrent layer.
        layers: the number of recurrent layers.
        dropout: the fraction of a recurrent layer's outputs dropped in training, 0 to below 1.
        seed: of weights and dropout; the same seed builds the same model.
        dtype: Keras's dtype policy of the recurrent layers, such as "mixed_bfloat16"; the other
            layers compute in float32. None: Keras's default.
        name: the model's name.
        info: names of classes and features, sample period and front end, which are saved with the
            model and written by `to_tflite` into the manifest; see `kgated.models.data_info`.

    Returns:
        The model, built, not compiled.

    Raises:
        ValueError: `frames` are empty, have another shape or hold NaN or inf; `classes` is below 2,
            or `layers` below 1.

    Example:
        >>> frames = np.random.default_rng(0).normal(size=(100, 12)).astype("float32")
        >>> sequence_classifier(GRU, frames=frames, classes=9).output_shape
        (None, 9)
    """
    stack = classifier_stack(
        recurrent, frames, classes, units, layers, dropout, seed, dtype, each=False
    )
    front = [keras.Input((None, frames.shape[1])), keras.layers.Masking(name="padding")]
    return described([*front, *stack], name, info)


def classifier_stack(
    recurrent: Recurrent,
    frames: np.ndarray,
    classes: int,
    units: int,
    layers: int,
    dropout: float,
    seed: int,
    dtype: str | None,
    *,
    each: bool,
) -> list[keras.Layer]:
    """Normalization, recurrent layers with Dropout, and Dense with softmax, all seeded.

    The arguments are those of `sequence_classifier`. With `each` every frame is classified, else
    only the last one.
    """
    check_shape(frames, classes, layers)
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=3 * layers + 1).tolist())
    stack: list[keras.Layer] = [
        fitted_normalization(frames),
        *recurrent_stack(recurrent, units, layers, dropout, seeds, dtype, each=each),
    ]
    glorot = keras.initializers.GlorotUniform(next(seeds))
    head = keras.layers.Dense(
        classes, activation="softmax", kernel_initializer=glorot, name="classes"
    )
    return [*stack, head]


def fitted_normalization(frames: np.ndarray) -> keras.layers.Normalization:
    """A layer `scale` with the mean and variance of frames (n, F).

    A constant feature gets a variance of 1, as in scikit-learn's StandardScaler, and so does one
    that varies by rounding errors alone. Keras would divide it by 1e-7, so that the smallest
    deviation in the field would drown all other features.
    """
    scale = keras.layers.Normalization(name="scale")
    scale.build(frames.shape)
    mean, variance = scaling_moments(frames)
    scale.adapt_mean.assign(mean)
    scale.adapt_variance.assign(variance)
    scale.finalize_state()
    return scale


def recurrent_stack(
    recurrent: Recurrent,
    units: int,
    layers: int,
    dropout: float,
    seeds: Iterator[int],
    dtype: str | None = None,
    *,
    each: bool,
) -> list[keras.Layer]:
    """`layers` times a recurrent layer and Dropout; `seeds` gives three for each.

    With `each` the last recurrent layer has an output per frame, else one per sequence.
    """
    stack: list[keras.Layer] = []
    for n in range(layers):
        options = {
            "return_sequences": each or n < layers - 1,
            "kernel_initializer": keras.initializers.GlorotUniform(next(seeds)),
            "recurrent_initializer": keras.initializers.Orthogonal(seed=next(seeds)),
            "dtype": dtype,
            "name": f"recurrent_{n + 1}",
        }
        dropout_layer = keras.layers.Dropout(dropout, seed=next(seeds), name=f"dropout_{n + 1}")
        stack += [recurrent(units, **accepted(recurrent, options)), dropout_layer]
    return stack


def accepted(recurrent: Recurrent, options: dict[str, Any]) -> dict[str, Any]:
    """The options without those of a recurrent kernel, for a layer whose cell has none."""
    if not issubclass(getattr(recurrent, "cell_class", object), MinimalCell):
        return options
    return {name: value for name, value in options.items() if not name.startswith("recurrent_")}


def described(
    stack: list[keras.Layer], name: str | None, info: DataInfo | None
) -> keras.Sequential:
    """A Sequential model of the layers that stores `info` about its data."""
    if info is None or not (plain := info.to_plain()):
        return keras.Sequential(stack, name=name)
    return DescribedSequential(stack, name=name, data_info=plain)


def data_info(model: keras.Model) -> DataInfo:
    """The data description of a model: class names, feature names, sample period, front end.

    Models of `kgated train` and of `sequence_classifier(info=...)` have it, also after saving and
    loading and after `kgated.quantize_aware`. For any other model all values are None.
    """
    plain = getattr(model, "data_info", None)
    return DataInfo() if plain is None else DataInfo.from_plain(plain.document)


def check_shape(frames: np.ndarray, classes: int, layers: int) -> None:
    """Raise a ValueError for frames, classes or layers that no classifier can have."""
    if frames.ndim != 2 or 0 in frames.shape:
        raise ValueError(f"`frames` must be (n, features), n above 0. Received: {frames.shape}")
    if not np.isfinite(frames).all():
        raise ValueError("`frames` holds NaN or inf: drop them, or repeat the last good one")
    if classes < 2:
        raise ValueError(f"`classes` must be at least 2. Received: {classes}")
    if layers < 1:
        raise ValueError(f"`layers` must be at least 1. Received: {layers}")
