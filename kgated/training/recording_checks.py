"""What is refused before a training on long recordings."""

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def check_recordings(x: Sequence[Array], y: Sequence[Array], streams: int, steps: int) -> None:
    """Raise a ValueError for other than N recordings with N targets, or too many streams."""
    if not len(x) or len(x) != len(y):
        raise ValueError(f"`x` and `y` must hold the same recordings. Received {len(x)}, {len(y)}")
    if not 1 <= streams <= len(x):
        raise ValueError(f"`streams` must be in 1..{len(x)}, the recordings. Received: {streams!r}")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1. Received: {steps!r}")


def check_stride(x: Sequence[Array], steps: int, stride: int) -> None:
    """Raise a ValueError where chunks do not hold whole strides, or no recording holds one."""
    if stride < 1 or steps % stride:
        raise ValueError(
            f"`steps` must be a multiple of the frames per output, {stride}. Received: {steps!r}"
        )
    if max(map(len, x)) < stride:
        raise ValueError(
            f"`x` must have a recording of {stride} frames or more, the frames per output. The "
            f"longest has {max(map(len, x))}"
        )


def check_recording(n: int, x: Array, y: Array, classes: int | None) -> None:
    """Raise a ValueError for frames without a target, NaN or inf, or a label out of range."""
    if not len(x) or len(x) != len(y):
        raise ValueError(
            "a recording must have frames, and a target for each. Received "
            f"{len(x)} and {len(y)} in recording {n}"
        )
    if not np.isfinite(x).all():
        frame = np.argwhere(~np.isfinite(x))[0][0]
        raise ValueError(
            f"`x` holds NaN or inf in recording {n}, frame {frame}: drop the frame, or repeat the "
            "last good one"
        )
    if classes is not None and not ((y >= 0) & (y < classes)).all():
        bad = y[(y < 0) | (y >= classes)][0]
        raise ValueError(
            f"`y` must hold targets in 0..{classes - 1}. Received {bad} in recording {n}"
        )
