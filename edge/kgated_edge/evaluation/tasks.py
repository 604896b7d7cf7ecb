"""Checks that data fit a model, and chooses the scorer of a task."""

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.metrics import Classes, Frames, Labels, Numbers, Scorer, Text
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import bad_frames

TASKS = ("classes", "frames", "numbers", "text")


def check_alone(manifest: Manifest) -> None:
    """Raises `DataError` for a file with a batch above 1, since sequences are run one by one."""
    if manifest.batch > 1:
        raise DataError(
            f"the model takes {manifest.batch} sequences at once, this runs them one by one: "
            "convert the model with a batch of 1"
        )


def check_fit(manifest: Manifest, data: SequenceData) -> None:
    """Checks that the frames of data fit a model.

    Raises:
        DataError: other inputs, shapes or dtypes, a token outside the vocabulary, or a sequence
            too short for one step.
    """
    check_alone(manifest)
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
    size, shortest, longest = manifest.frames_per_step, int(lengths.min()), int(lengths.max())
    if manifest.mode == "sequence":
        if longest > size or (shortest < size and not manifest.padded):
            allowed = "up to" if manifest.padded else "exactly"
            raise DataError(
                f"sequences must have {allowed} {size} frames, got {shortest} to {longest}: "
                "cut them, or convert the model for other lengths"
            )
    elif shortest < size:
        raise DataError(
            f"sequences must have {size} frames or more, which one step of the model takes, "
            f"got {shortest} in sequence {lengths.argmin()}: leave such sequences out"
        )


def make_scorer(manifest: Manifest, data: SequenceData, task: str | None) -> Scorer | None:
    """The scorer for a model's outputs on data; None where there are no targets.

    Args:
        manifest: of the model; its first output is scored.
        data: sequences with `y`, or of tokens, whose targets are the next tokens.
        task: "classes", "frames", "numbers" or "text"; None: by `y`, where integers (N,) are
            classes, (N, T) classes per frame, and floats numbers.

    Raises:
        DataError: data without the targets that the task needs.
        EdgeError: no such task.
    """
    if task not in (None, *TASKS):
        raise EdgeError(f"`task` must be one of {list(TASKS)}, got {task!r}")
    if task == "text":
        return _text_scorer(manifest, data)
    if data.y is None:
        if task is not None:
            raise DataError(f"there is no `y` for task '{task}': save it, or leave `task` out")
        return None
    first = manifest.outputs[0]
    size = 1 if manifest.is_timed(first) else manifest.frames_per_step
    if task == "numbers" or (task is None and data.y.dtype.kind == "f"):
        return Numbers(_targets_of(manifest, data, data.y), size)
    labels = _labels_of(manifest, data, data.y, task)
    if labels.ndim == 2:
        return Frames(labels, first.size, size)
    return Classes(labels, first.size, None if _is_single(manifest) else size)


def _text_scorer(manifest: Manifest, data: SequenceData) -> Text:
    """The targets are `y` (N, T), or without `y` the next token of `x`."""
    first, stream = manifest.outputs[0], manifest.mode == "stream"
    each = manifest.frames_per_step == 1 if stream else manifest.is_timed(first)
    size = first.size
    if len(manifest.frames) != 1 or not manifest.frames[0].is_token or not each:
        raise DataError("task 'text' is for models of one token per step: choose another task")
    if data.y is not None:
        return Text(_labels_of(manifest, data, data.y, "frames"), data.lengths)
    if manifest.frames[0].vocabulary != size:
        raise DataError(
            f"task 'text' without `y` needs an output per token, {manifest.frames[0].vocabulary}, "
            f"the model has {size}: save `y`"
        )
    if data.lengths.max() < 2:
        raise DataError("task 'text' without `y` needs sequences of two tokens or more: save `y`")
    return Text(data.x[:, 1:].astype(np.int64), data.lengths - 1)


def _targets_of(manifest: Manifest, data: SequenceData, y: Array) -> Array:
    size = manifest.outputs[0].size
    per_sequence, frames = data.x.shape[:1], data.x.shape[:2]
    shapes = [(*frames, size)] + ([per_sequence, frames] if size == 1 else [])
    if y.shape not in shapes:
        raise DataError(
            f"`y` must have one of the shapes {shapes} to score {size} outputs of the model, "
            f"got {y.shape}: save such targets, or class numbers as integers"
        )
    _check_per_frame(manifest, y)
    real = _real(data.lengths, y.shape[1])[..., None] if y.ndim > 1 else np.ones(1, bool)
    if not np.isfinite(np.where(real, y.reshape(*y.shape[:2], -1), 0)).all():
        raise DataError("`y` must be finite in real frames, got NaN or inf: save real targets")
    return y


def _labels_of(manifest: Manifest, data: SequenceData, y: Array, task: str | None) -> Labels:
    shapes = {"classes": data.x.shape[:1], "frames": data.x.shape[:2]}
    allowed = list(shapes.values()) if task is None else [shapes[task]]
    if y.shape not in allowed or y.dtype.kind not in "iu":
        rule = " or ".join(map(str, allowed))
        raise DataError(
            f"`y` must be {rule} integers, a label per sequence or frame, to score accuracy, "
            f"got shape {y.shape} of {y.dtype}: save such labels, or leave `y` out"
        )
    _check_per_frame(manifest, y)
    size = manifest.outputs[0].size
    bad = (y < 0) | (y >= size)
    if y.ndim == 2:
        bad &= _real(data.lengths, y.shape[1])
    if bad.any():
        at = tuple(map(int, np.argwhere(bad)[0]))
        raise DataError(
            f"`y` must be in 0..{size - 1}, the outputs of the model, got {y[at]} for "
            f"sequence {at[0]}{f', frame {at[1]}' if at[1:] else ''}: save class numbers"
        )
    return y.astype(np.int64)


def _check_per_frame(manifest: Manifest, y: Array) -> None:
    if y.ndim > 1 and _is_single(manifest):
        raise DataError(
            "`y` has a label per frame, the model one result per sequence: give `y` of (N,)"
        )


def _is_single(manifest: Manifest) -> bool:
    """Whether a sequence has a single result."""
    return manifest.mode == "sequence" and not manifest.is_timed(manifest.outputs[0])


def _arrays(manifest: Manifest, data: SequenceData) -> list[Array]:
    names = [frame.name for frame in manifest.frames]
    if len(names) == 1 and data.inputs is None:
        return [data.x]
    if set(data.inputs or ()) != set(names):
        got = "`x` alone" if data.inputs is None else sorted(data.inputs)
        raise DataError(f"the model takes the inputs {names}, got {got}: give an array for each")
    return [data.inputs[name] for name in names] if data.inputs else []


def _real(lengths: Labels, frames: int) -> npt.NDArray[np.bool_]:
    """Which frames (N, T) are not padding."""
    return np.asarray(np.arange(frames) < lengths[:, None])


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
