"""The classic models on recurrent layers, ready to train and to stream."""

from collections.abc import Callable

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

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
    """Which class is this sequence? Decided after its last frame, by a model that can stream.

    (B, T, F) frames, T free, to (B, classes) probabilities: Masking, Normalization, `layers` times
    a recurrent layer and Dropout, Dense with softmax.

    A frame of zeros is padding and changes nothing, so that a padded batch gives what the real
    frames alone give. Frames go in raw: their mean and variance are part of the model. A feature
    that is constant in `frames` gets a variance of 1.

    Args:
        recurrent: called as `recurrent(units, return_sequences=..., kernel_initializer=...,
            recurrent_initializer=..., dtype=..., name=...)`: `kgated.LSTM`, `PeepholeLSTM`, `GRU`
            or Keras's.
        frames: (n, F) real frames, without padding, to take mean and variance from.
        classes: how many there are.
        units: the width of each recurrent layer.
        layers: how many recurrent layers.
        dropout: the share of a recurrent layer's outputs dropped in training, 0 to below 1.
        seed: of weights and dropout; the same seed builds the same model.
        dtype: Keras's policy of the recurrent layers, such as "mixed_bfloat16"; all else computes
            in float32. None: Keras's default.
        name: the model's name.
        info: names of classes and features, sample period and front end, which are saved with the
            model and written by `to_tflite` into the manifest; see `kgated.models.data_info`.

    Returns:
        The model, built, not compiled.

    Raises:
        ValueError: `frames` of another shape, none at all, NaN or inf in them; fewer than two
            `classes`; `layers` below 1.

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
    the last one alone.
    """
    check_shape(frames, classes, layers)
    seeds = iter(np.random.default_rng(seed).integers(2**31, size=3 * layers + 1).tolist())
    stack: list[keras.Layer] = [fitted_normalization(frames)]
    for n in range(layers):
        stack += [
            recurrent(
                units,
                return_sequences=each or n < layers - 1,
                kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                dtype=dtype,
                name=f"recurrent_{n + 1}",
            ),
            keras.layers.Dropout(dropout, seed=next(seeds), name=f"dropout_{n + 1}"),
        ]
    glorot = keras.initializers.GlorotUniform(next(seeds))
    head = keras.layers.Dense(
        classes, activation="softmax", kernel_initializer=glorot, name="classes"
    )
    return [*stack, head]


def fitted_normalization(frames: np.ndarray) -> keras.layers.Normalization:
    """A layer `scale` with the mean and variance of frames (n, F).

    A constant feature gets a variance of 1, as in scikit-learn's StandardScaler. Keras would divide
    it by 1e-7, so that the smallest deviation in the field would drown all other features.
    """
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(frames)
    constant = np.ptp(frames, axis=0) == 0
    if constant.any():
        variance = keras.ops.convert_to_numpy(scale.adapt_variance)
        scale.adapt_variance.assign(np.where(constant, 1.0, variance))
        scale.finalize_state()
    return scale


def described(
    stack: list[keras.Layer], name: str | None, info: DataInfo | None
) -> keras.Sequential:
    """The model of some layers, which keeps what is known of its data."""
    if info is None or not (plain := info.to_plain()):
        return keras.Sequential(stack, name=name)
    return DescribedSequential(stack, name=name, data_info=plain)


def data_info(model: keras.Model) -> DataInfo:
    """What the data set of a model says: class names, feature names, sample period, front end.

    A model of `kgated train` or of `sequence_classifier(info=...)` has it, also after it is saved
    and loaded, and what `kgated.quantize_aware` makes of it; for any other model all is None.
    """
    plain = getattr(model, "data_info", None)
    return DataInfo() if plain is None else DataInfo.from_plain(plain.document)


def check_shape(frames: np.ndarray, classes: int, layers: int) -> None:
    """Refuse frames, classes or layers that no classifier can have; `ValueError`."""
    if frames.ndim != 2 or 0 in frames.shape:
        raise ValueError(f"`frames` must be (n, features), n above 0. Received: {frames.shape}")
    if not np.isfinite(frames).all():
        raise ValueError("`frames` holds NaN or inf: drop them, or repeat the last good one")
    if classes < 2:
        raise ValueError(f"`classes` must be at least 2. Received: {classes}")
    if layers < 1:
        raise ValueError(f"`layers` must be at least 1. Received: {layers}")
