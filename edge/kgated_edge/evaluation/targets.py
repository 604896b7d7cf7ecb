"""The targets of a data set: the shapes and values that each task can score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.metrics import Labels
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec

Shape = tuple[int, ...]
_SUM_TOLERANCE = 0.01  # of class probabilities that were saved with few digits


@dataclass(frozen=True)
class Targets:
    """The targets `y` with the output that they are compared with.

    Attributes:
        y: (N, ...) of each sequence, or (N, T, ...) of each frame.
        real: (N, T) which frames are not padding.
        output: the output of the model that is scored, the first.
        is_single: whether the model has one result for a sequence; else one for each step.
    """

    y: Array
    real: npt.NDArray[np.bool_]
    output: TensorSpec
    is_single: bool

    @classmethod
    def of(cls, manifest: Manifest, data: SequenceData, y: Array) -> "Targets":
        """The targets of a data set for a model."""
        return cls(y, real_frames(data), manifest.outputs[0], has_single_result(manifest))

    @property
    def classes(self) -> int:
        """The number of outputs."""
        return self.output.size

    @property
    def class_count(self) -> int:
        """How many classes the output decides between; one number decides between two."""
        return max(2, self.output.size)

    @property
    def shapes_of_labels(self) -> tuple[Shape, Shape]:
        """The shapes of one class number for each sequence, and for each frame."""
        return self.real.shape[:1], self.real.shape

    @property
    def shapes_per_sequence(self) -> list[Shape]:
        """The shapes of numbers for each sequence."""
        count, size, shape = self.real.shape[:1], self.output.size, self.output.shape
        shapes = [(*count, size), (*count, *shape), *([count] if size == 1 else [])]
        return list(dict.fromkeys(shapes))

    @property
    def shapes_per_frame(self) -> list[Shape]:
        """The shapes of numbers for each frame; none where a sequence has one result."""
        if self.is_single:
            return []
        frames, size, shape = self.real.shape, self.output.size, self.output.shape
        shapes = [(*frames, size), (*frames, *shape), *([frames] if size == 1 else [])]
        return list(dict.fromkeys(shapes))

    @property
    def is_per_frame(self) -> bool:
        """Whether `y` holds numbers for each frame rather than for each sequence."""
        return self.y.shape not in self.shapes_per_sequence

    @property
    def fits_numbers(self) -> bool:
        """Whether `y` has a shape of numbers."""
        return self.y.shape in self.shapes_per_sequence + self.shapes_per_frame

    def rows(self) -> Array:
        """The numbers (n, outputs) of all sequences, or of all frames that are not padding."""
        if self.is_per_frame:
            return self.y.reshape(*self.real.shape, -1)[self.real]
        return self.y.reshape(len(self.y), -1)

    @property
    def are_binary_labels(self) -> bool:
        """Whether `y` is 0 or 1, of any type, for a model of one output."""
        has_shape = self.y.shape in self.shapes_of_labels
        return self.classes == 1 and has_shape and bool(np.isin(self.y, (0, 1)).all())

    @property
    def are_flags(self) -> bool:
        """Whether every number is 0 or 1, several of them for each result."""
        return self.fits_numbers and self.classes > 1 and bool(np.isin(self.rows(), (0, 1)).all())

    @property
    def are_class_probabilities(self) -> bool:
        """Whether the numbers of each result are in 0..1 and sum to 1, as in one-hot labels."""
        if not self.fits_numbers or self.classes == 1:
            return False
        rows = self.rows().astype(np.float64)
        sums = np.abs(rows.sum(-1) - 1)
        return bool(rows.min() >= 0 and rows.max() <= 1 and sums.max() <= _SUM_TOLERANCE)


def real_frames(data: SequenceData) -> npt.NDArray[np.bool_]:
    """Which frames (N, T) are not padding."""
    return np.asarray(np.arange(data.x.shape[1]) < data.lengths[:, None])


def has_single_result(manifest: Manifest) -> bool:
    """Whether a sequence has a single result."""
    return manifest.mode == "sequence" and not manifest.is_timed(manifest.outputs[0])


def numbers_of(targets: Targets) -> Array:
    """Numeric targets.

    Raises:
        DataError: another shape than the results of the model have, NaN or inf.
    """
    if not targets.fits_numbers or targets.y.dtype.kind not in "biuf":
        shapes = targets.shapes_per_sequence + targets.shapes_per_frame
        raise DataError(
            f"`y` must have one of the shapes {shapes} to score {targets.classes} outputs of the "
            f"model, got {targets.y.shape}: save such targets, or class numbers as integers"
        )
    if not np.isfinite(targets.rows()).all():
        raise DataError("`y` must be finite in real frames, got NaN or inf: save real targets")
    return targets.y


def flags_of(targets: Targets) -> Array:
    """Targets of several labels at once: 0 or 1 for each output.

    Raises:
        DataError: another shape than the results of the model have, other numbers, one output.
    """
    if targets.classes == 1:
        raise DataError("task 'multi-label' needs an output per label, the model has one output")
    if not targets.are_flags:
        shapes = targets.shapes_per_sequence + targets.shapes_per_frame
        raise DataError(
            f"`y` must have one of the shapes {shapes}, 0 or 1 for each label, for task "
            f"'multi-label', got shape {targets.y.shape} of {targets.y.dtype}: save such labels, "
            "or name another task"
        )
    return targets.y


def labels_of(targets: Targets, task: str | None) -> Labels:
    """Class numbers (N,) or (N, T); of class probabilities or one-hot labels the largest.

    Args:
        targets: as integers or probabilities.
        task: "classification", "frame-classification", "next-token", or None for either.

    Raises:
        DataError: neither integers nor probabilities of the right shape, or a class that the model
            has no output for.
    """
    labels = _labels_in_right_shape(targets, task)
    if labels.ndim > 1 and targets.is_single:
        raise DataError(
            "`y` has a label per frame, the model one result per sequence: give `y` of (N,)"
        )
    largest = targets.class_count - 1
    bad = (labels < 0) | (labels > largest)
    if labels.ndim == 2:
        bad &= targets.real
    if bad.any():
        at = tuple(map(int, np.argwhere(bad)[0]))
        raise DataError(
            f"`y` must be in 0..{largest}, the outputs of the model, got {labels[at]} "
            f"for sequence {at[0]}{f', frame {at[1]}' if at[1:] else ''}: save class numbers"
        )
    return labels.astype(np.int64)


def _labels_in_right_shape(targets: Targets, task: str | None) -> Array:
    per_sequence, per_frame = targets.shapes_of_labels
    by_task = {None: [per_sequence, per_frame], "classification": [per_sequence]}
    allowed = by_task.get(task, [per_frame])
    y = targets.y
    if y.shape in allowed and y.dtype.kind in "iu":
        return y
    if y.shape in allowed and targets.are_binary_labels:
        return y.astype(np.int64)
    if targets.are_class_probabilities:
        labels = y.reshape(*y.shape[: 2 if targets.is_per_frame else 1], -1).argmax(-1)
        if labels.shape in allowed:
            return np.asarray(labels)
    rule = " or ".join(map(str, allowed))
    raise DataError(
        f"`y` must be {rule} integers, a label per sequence or frame, or {targets.classes} class "
        f"probabilities for each, to score accuracy, got shape {y.shape} of {y.dtype}: save such "
        "labels, or leave `y` out"
    )
