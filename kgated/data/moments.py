"""Mean and variance of features, exact for many frames with a large offset."""

import numpy as np

Array = np.ndarray
# Relative to the value: below it a deviation is rounding of float32, as after resampling.
ROUNDING = 4 * float(np.finfo(np.float32).eps)
TOLERANCE = 1e-3


def feature_moments(frames: Array) -> tuple[Array, Array]:
    """Mean and variance (F,) of frames (n, F), in the type of the frames.

    NumPy adds the rows in float32, which loses the digits of a small deviation from a large
    offset. Such features get the sums of float64; all others stay as NumPy gives them. A variance
    above the range of the type is inf.
    """
    with np.errstate(over="ignore"):
        mean, variance = frames.mean(axis=0), frames.var(axis=0)
        exact_mean = frames.mean(axis=0, dtype=np.float64)
        exact_variance = frames.var(axis=0, dtype=np.float64)
        lost = np.abs(mean - exact_mean) > TOLERANCE * np.sqrt(exact_variance)
        lost |= np.abs(variance - exact_variance) > TOLERANCE * exact_variance
        mean = np.where(lost, exact_mean, mean).astype(frames.dtype)
        return mean, np.where(lost, exact_variance, variance).astype(frames.dtype)


def constant_features(frames: Array) -> Array:
    """(F,) True for the features of frames (n, F) that vary by rounding errors at most."""
    constant: Array = np.ptp(frames, axis=0) <= ROUNDING * np.abs(frames).max(axis=0)
    return constant


def scaling_moments(frames: Array, where: object = None) -> tuple[Array, Array]:
    """Mean and variance (F,) of frames (n, F) to scale them by; 1 for a constant feature.

    Args:
        frames: from which they are computed.
        where: the file, for the message.

    Raises:
        ValueError: a variance is above the range of the type.
    """
    mean, variance = feature_moments(frames)
    variance = np.where(constant_features(frames), 1.0, variance)
    if not np.isfinite(variance).all():
        feature = int(np.argmin(np.isfinite(variance)))
        prefix, largest = "" if where is None else f"{where}: ", np.abs(frames[:, feature]).max()
        raise ValueError(
            f"{prefix}feature {feature} (from 0) has values up to {largest:.1e}, "
            f"whose variance is above the range of {frames.dtype}: divide it by a constant"
        )
    return mean, variance
