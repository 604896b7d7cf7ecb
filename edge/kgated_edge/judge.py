"""Whether data fit a model, and the limits that a run is held to."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgated_edge.data import SequenceData
from kgated_edge.errors import DataError, EdgeError
from kgated_edge.frames import bad_frames
from kgated_edge.manifest import Manifest
from kgated_edge.specs import Array, TensorSpec

Labels = npt.NDArray[np.int64]


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
        DataError: other inputs, shapes or dtypes, a token outside the vocabulary, or a sequence
            too short for one step.
    """
    if manifest.batch > 1:
        raise DataError(
            f"the file takes {manifest.batch} sequences at once, and a measurement takes them one "
            "by one: convert the model with a batch of 1 for it"
        )
    for spec, x in zip(manifest.frames, _arrays(manifest, data), strict=True):
        frame, axes = spec.real, 1 if spec.name in manifest.single else 2
        if x.shape[axes:] != frame.shape or x.dtype != frame.dtype:
            raise DataError(
                f"frames of shape {x.shape[axes:]} {x.dtype} do not fit the model, "
                f"which takes {frame.shape} {frame.dtype}: use the data it was made for"
            )
        if axes == 2:
            _check_tokens(frame, x, data.lengths)
    _check_lengths(manifest, data.lengths)


def _check_lengths(manifest: Manifest, lengths: Labels) -> None:
    size, least, most = manifest.frames_per_step, int(lengths.min()), int(lengths.max())
    if manifest.mode == "sequence":
        if most > size or (least < size and not manifest.padded):
            allowed = "to" if manifest.padded else "just"
            raise DataError(
                f"sequences must have {'up ' if manifest.padded else ''}{allowed} {size} frames, "
                f"got {least} to {most}: cut them, or convert the model for others"
            )
    elif least < size:
        raise DataError(
            f"sequences must have {size} frames or more, which one step of the model takes, "
            f"got {least} in sequence {lengths.argmin()}: leave such sequences out"
        )


def labels_of(manifest: Manifest, data: SequenceData) -> Labels | None:
    """The labels: (N,) of the sequences, or (N, T) of the frames, or None without `y`.

    Raises:
        DataError: `y` is neither, or not an index into the model's first output.
    """
    if data.y is None:
        return None
    shapes = data.x.shape[:1], data.x.shape[:2]
    if data.y.shape not in shapes or data.y.dtype.kind not in "iu":
        raise DataError(
            f"`y` must be {shapes[0]} or {shapes[1]} integers, a label per sequence or frame, to "
            f"judge accuracy, got shape {data.y.shape} of {data.y.dtype}: save such labels, or "
            "leave `y` out"
        )
    single = manifest.mode == "sequence" and not manifest.is_timed(manifest.outputs[0])
    if data.y.ndim == 2 and single:
        raise DataError("`y` has a label per frame, and the model one result: give `y` of (N,)")
    size = manifest.outputs[0].size
    bad = (data.y < 0) | (data.y >= size)
    if data.y.ndim == 2:
        bad &= _real(data.lengths, data.y.shape[1])
    if bad.any():
        at = tuple(map(int, np.argwhere(bad)[0]))
        raise DataError(
            f"`y` must be in 0..{size - 1}, the outputs of the model, got {data.y[at]} for "
            f"sequence {at[0]}{f', frame {at[1]}' if at[1:] else ''}: save class numbers"
        )
    return data.y.astype(np.int64)


def hits(labels: Labels, decisions: list[Labels], size: int) -> float:
    """The share of decisions that are right.

    Args:
        labels: as `labels_of` returns them.
        decisions: for each sequence the decision of each step.
        size: frames per step; a step is judged by the label of its last frame.
    """
    if labels.ndim == 1:
        return float((labels == [steps[-1] for steps in decisions]).mean())
    ends = [row[size - 1 :: size] for row in labels]
    right = [row[: len(steps)] == steps for row, steps in zip(ends, decisions, strict=True)]
    return float(np.concatenate(right).mean())


def _arrays(manifest: Manifest, data: SequenceData) -> list[Array]:
    names = [frame.name for frame in manifest.frames]
    if len(names) == 1 and data.inputs is None:
        return [data.x]
    if set(data.inputs or ()) != set(names):
        got = "`x` alone" if data.inputs is None else sorted(data.inputs)
        raise DataError(f"the model takes the inputs {names}, got {got}: give an array for each")
    return [data.inputs[name] for name in names] if data.inputs else []


def _real(lengths: Labels, most: int) -> npt.NDArray[np.bool_]:
    """Which frames (N, T) are no padding."""
    return np.asarray(np.arange(most) < lengths[:, None])


def _check_tokens(frame: TensorSpec, x: Array, lengths: Labels) -> None:
    if frame.vocabulary is None:
        return
    bad = _real(lengths, x.shape[1]) & bad_frames(frame, x)
    if bad.any():
        sequence, place = np.argwhere(bad)[0]
        raise DataError(
            f"tokens must be in 0..{frame.vocabulary - 1}, got {x[sequence, place]} in "
            f"sequence {sequence}, frame {place}: encode with the model's vocabulary"
        )
