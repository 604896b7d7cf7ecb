"""Whether data fit a model, and the limits that a run is held to."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgated_edge.data import SequenceData
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.frames import bad_frames
from kgated_edge.manifest import Manifest
from kgated_edge.specs import TensorSpec


@dataclass(frozen=True)
class Limits:
    """What a run must keep to.

    Attributes:
        deadline_ms: a step that takes longer misses it; None for no deadline.
        max_misses: misses allowed.
        min_accuracy: share of right decisions, 0..1; None for no limit.

    Raises:
        EdgeError: a value outside its range.
    """

    deadline_ms: float | None = None
    max_misses: int = 0
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.deadline_ms is not None and not 0 < self.deadline_ms < math.inf:
            raise EdgeError(f"`deadline_ms` must be above 0, got {self.deadline_ms}")
        if self.max_misses < 0:
            raise EdgeError(f"`max_misses` must not be negative, got {self.max_misses}")
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise EdgeError(f"`min_accuracy` must be in 0..1, got {self.min_accuracy}")

    def failures(self, accuracy: float | None, misses: int | None, steps: int) -> tuple[str, ...]:
        """A sentence per limit that a run missed."""
        found = []
        if self.min_accuracy is not None and not (accuracy or 0) >= self.min_accuracy:
            found.append(f"accuracy is {accuracy:.4f}, at least {self.min_accuracy} is required")
        if misses is not None and misses > self.max_misses:
            found.append(
                f"{misses} of {steps} steps took longer than {self.deadline_ms:g} ms, "
                f"allowed are {self.max_misses}"
            )
        return tuple(found)


def check_fit(manifest: Manifest, data: SequenceData) -> None:
    """Compares the frames of data with a model's.

    Raises:
        DataError: another shape, dtype, or a token outside the vocabulary.
    """
    frame = manifest.frame
    if data.x.shape[2:] != frame.shape or data.x.dtype != frame.dtype:
        raise DataError(
            f"frames of shape {data.x.shape[2:]} {data.x.dtype} do not fit the model, "
            f"which takes {frame.shape} {frame.dtype}: use the data it was made for"
        )
    _check_tokens(frame, data)


def labels_of(manifest: Manifest, data: SequenceData) -> npt.NDArray[np.int64] | None:
    """The label of each sequence, (N,), or None where the data have no `y`.

    Raises:
        DataError: `y` is not one integer per sequence, or not an index into the model's outputs.
    """
    if data.y is None:
        return None
    if data.y.shape != (len(data),) or data.y.dtype.kind not in "iu":
        raise DataError(
            f"`y` must be ({len(data)},) integers, one label per sequence, to judge accuracy, "
            f"got shape {data.y.shape} of {data.y.dtype}: save such labels, or leave `y` out"
        )
    size = manifest.output.size
    bad = (data.y < 0) | (data.y >= size)
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            f"`y` must be in 0..{size - 1}, the outputs of the model, "
            f"got {data.y[at]} for sequence {at}: save class numbers"
        )
    return data.y.astype(np.int64)


def _check_tokens(frame: TensorSpec, data: SequenceData) -> None:
    if frame.vocabulary is None:
        return
    real = np.arange(data.x.shape[1]) < data.lengths[:, None]
    bad = real & bad_frames(frame, data.x)
    if bad.any():
        sequence, place = np.argwhere(bad)[0]
        raise DataError(
            f"tokens must be in 0..{frame.vocabulary - 1}, got {data.x[sequence, place]} in "
            f"sequence {sequence}, frame {place}: encode with the model's vocabulary"
        )
