"""Feature-range checks: whether one integer scale resolves every feature of an input."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
from kgated_edge.format.feature_statistics import MAX_FEATURES, FeatureStatistics
from kgated_edge.format.tensor_spec import TensorSpec

from kgated.deploy.verification.data.sequences import Sequences
from kgated.errors import ConversionError
from kgated.keras_internals.graph import flatten_layers

INT8_STEPS = 255  # of the range that all features share
MIN_STEPS = 16  # that one feature needs to keep its values apart
MAX_NAMED = 8


def warn_of_small_features(sequences: Sequences, frames: Sequence[TensorSpec]) -> None:
    """Warn of features that int8 frames hardly resolve, because another one has a larger range.

    An int8 tensor has one scale: that of its whole range. A feature that spans few of its steps
    loses its information, whatever the model does afterwards.
    """
    for frame in frames:
        if frame.dtype != "float32" or len(frame.shape) != 1:
            continue
        values = np.concatenate([s[frame.name].reshape(-1, *frame.shape) for s in sequences])
        step = (max(values.max(), 0.0) - min(values.min(), 0.0)) / INT8_STEPS
        span = np.ptp(values, axis=0)
        small = np.flatnonzero((span > 0) & (span < MIN_STEPS * step))
        if len(small):
            more = ", ..." if len(small) > MAX_NAMED else ""
            names = ", ".join(map(str, small[:MAX_NAMED])) + more
            warnings.warn(
                f"in int8, all features of input `{frame.name}` share one scale, and {len(small)} "
                f"of {len(span)} span fewer than {MIN_STEPS} of its {INT8_STEPS + 1} steps: "
                f"features {names}. Scale the features to similar ranges before the model, or use "
                '`quantize="int16x8"` or "dynamic"',
                stacklevel=6,
            )


def check_frames_vary(sequences: Sequences, frames: Sequence[TensorSpec]) -> None:
    """Refuse sequences for calibration whose frames are all the same.

    The ranges of integers would hold that frame alone: all others saturate.

    Args:
        sequences: of the calibration data.
        frames: one frame of each input.

    Raises:
        ValueError: they do not vary, or are a single frame.
    """
    count = 0
    for frame in frames:
        values = np.concatenate([s[frame.name].reshape(-1, *frame.shape) for s in sequences])
        if (values != values[0]).any():
            return
        count = max(count, len(values))
    what = "a single frame" if count == 1 else f"the same frame {count} times"
    raise ValueError(
        f"`calibration` holds {what}: the ranges of integers would be of that frame alone, and "
        "every other one would saturate. Give sequences as the device will meet them, such as "
        "some dozens of the training data"
    )


def feature_statistics(
    sequences: Sequences, frames: Sequence[TensorSpec]
) -> dict[str, FeatureStatistics]:
    """Range and distribution of each feature, for the manifest; without tokens.

    Args:
        sequences: of the calibration data.
        frames: one frame of each input.
    """
    return {
        frame.name: FeatureStatistics.of(
            np.concatenate([s[frame.name].reshape(-1, frame.size) for s in sequences])
        )
        for frame in frames
        if frame.is_real and frame.size <= MAX_FEATURES
    }


def check_constant_features(model: keras.Model, skip: Sequence[str]) -> None:
    """Refuse, for integers, a Normalization that amplifies features which never changed.

    Their deviation is 0, and Keras divides by its epsilon: a factor of 10 million. One integer
    scale for such a feature leaves no resolution for the others.

    Raises:
        ConversionError: with the layer and the features.
    """
    for layer in flatten_layers(model, include_self=False):
        if not isinstance(layer, keras.layers.Normalization) or layer.name in skip:
            continue
        deviation = np.sqrt(keras.ops.convert_to_numpy(layer.variance))
        constant = np.flatnonzero(deviation <= keras.config.epsilon())
        if len(constant):
            raise ConversionError(
                f"layer `{layer.name}` divides features {constant[:MAX_NAMED].tolist()} by "
                f"{keras.config.epsilon():g}, because they were constant in `adapt`; integers "
                "can't hold them beside the others. Leave the features out, or give them a "
                f"variance of 1 ({_unit_variance(layer, constant)}), or use "
                f'`quantize="dynamic"`, or `skip=["{layer.name}"]`'
            )


def _unit_variance(layer: keras.layers.Normalization, features: np.ndarray) -> str:
    """The code that gives features a variance of 1."""
    if layer.input_variance is not None:
        return "in the argument `variance` of the layer"
    return (
        f"with `v = layer.adapt_variance.numpy(); v[{features.tolist()}] = 1; "
        "layer.adapt_variance.assign(v); layer.finalize_state()`"
    )
