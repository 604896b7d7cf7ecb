"""The training targets of a classifier, checked before the first step."""

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.file_array import FileArray

from kgated.data import is_real


def targets_of(name: str, data: SequenceData, features: int, classes: int) -> np.ndarray:
    """Return the one-hot targets (N, classes) float32 of sequences, after checking the sequences.

    Args:
        name: the argument's name, for the message.
        data: the sequences, with labels y (N,).
        features: the number of features per frame.
        classes: labels are in 0..classes-1.

    Raises:
        ValueError: the data are unsuitable; the message is one line with the defect, its position,
            and what to do.
    """
    _check_frames(name, data, features)
    return np.eye(classes, dtype=np.float32)[_labels(name, data, classes)]


def _check_frames(name: str, data: SequenceData, features: int) -> None:
    if not len(data):
        raise ValueError(f"`{name}` is empty: give it one sequence or more")
    if data.x.shape[2:] != (features,):
        raise ValueError(
            f"`{name}` must have frames of {features} features, as the model takes them. "
            f"Received: x of shape {data.x.shape}"
        )
    if isinstance(data.x, FileArray):
        return  # `load_npz` has already checked its values
    real = is_real(data.lengths, data.x.shape[1])
    bad = np.argwhere(real & ~np.isfinite(data.x).all(axis=-1))
    if len(bad):
        raise ValueError(
            f"`{name}` holds NaN or inf in sequence {bad[0][0]}, frame {bad[0][1]}: drop the "
            "frame, or repeat the last good one"
        )


def _labels(name: str, data: SequenceData, classes: int) -> np.ndarray:
    y = data.y
    if y is None or y.shape != (len(data),) or y.dtype.kind not in "iu":
        received = "none" if y is None else f"shape {y.shape} of {y.dtype}"
        raise ValueError(
            f"`{name}` must have labels `y`, one integer per sequence. Received: {received}"
        )
    bad = np.flatnonzero((y < 0) | (y >= classes))
    if len(bad):
        raise ValueError(
            f"`{name}` must have labels in 0..{classes - 1}, the outputs of the model. Received: "
            f"{y[bad[0]]} for sequence {bad[0]}"
        )
    return y
