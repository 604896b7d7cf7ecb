"""Whether the features of a frame are of like size, as one integer scale for all wants them."""

import warnings
from collections.abc import Sequence

import keras
import numpy as np
from kgated_edge.format.manifest import TensorSpec

from kgated.deploy.verification.compare import Sequences
from kgated.errors import ConversionError

STEPS, FEWEST = 255, 16  # of int8: what all features share, what one needs to tell its values apart
NAMED = 8


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
