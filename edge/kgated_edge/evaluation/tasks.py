"""Checks that data fit a model, and creates the scorer of a task."""

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.metrics import Classes, Frames, Labels, Numbers, Scorer, Text
from kgated_edge.evaluation.multilabel import MultiLabel
from kgated_edge.evaluation.targets import (
    Targets,
    flags_of,
    has_single_result,
    labels_of,
    numbers_of,
    real_frames,
)
from kgated_edge.evaluation.task_choice import canonical_task, choose_task
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import bad_frames


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
        are_ids = frame.vocabulary is not None and x.dtype.kind in "iu"
        if x.shape[axes:] != frame.shape or not (are_ids or x.dtype == frame.dtype):
            raise DataError(
                f"frames of shape {x.shape[axes:]} {x.dtype} do not fit the model, "
                f"which takes {frame.shape} {frame.dtype}: use the data it was made for"
            )
        if axes == 2:
            _check_tokens(frame, x, real_frames(data))
    _check_lengths(manifest, data.lengths)


def _check_lengths(manifest: Manifest, lengths: Labels) -> None:
    size, shortest, longest = manifest.frames_per_step, int(lengths.min()), int(lengths.max())
    if manifest.results_per_step > 1 and manifest.state == "external":
        size = manifest.frames_per_result  # the last step is filled
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
        task: one of `TASKS` or their older names; None: by `y` and the model, see `choose_task`.

    Raises:
        DataError: data without the targets that the task needs, or that fit several tasks.
        EdgeError: no such task.
    """
    task = canonical_task(task)
    if data.y is None and task == "next-token":
        return _next_tokens(manifest, data)
    if data.y is None:
        if task is not None:
            raise DataError(f"there is no `y` for task '{task}': save it, or leave `task` out")
        return None
    targets = Targets.of(manifest, data, data.y)
    if task is None:
        task = choose_task(manifest, data, targets)
    return _scorer(manifest, data, targets, task)


def _scorer(manifest: Manifest, data: SequenceData, targets: Targets, task: str) -> Scorer:
    """The scorer of a task for `y`."""
    first = manifest.outputs[0]
    size = 1 if manifest.is_timed(first) else manifest.frames_per_result
    if task == "next-token":
        _check_token_model(manifest)
        return Text(labels_of(targets, task), data.lengths)
    if task in ("regression", "multi-label"):
        y = numbers_of(targets) if task == "regression" else flags_of(targets)
        rows = size if targets.is_per_frame else None
        return Numbers(y, rows) if task == "regression" else MultiLabel(y, rows)
    labels, classes = labels_of(targets, task), targets.class_count
    threshold = manifest.threshold if first.size == 1 else None
    if labels.ndim == 2:
        return Frames(labels, classes, size, threshold)
    return Classes(labels, classes, None if has_single_result(manifest) else size, threshold)


def _check_token_model(manifest: Manifest) -> None:
    first, stream = manifest.outputs[0], manifest.mode == "stream"
    each = manifest.frames_per_result == 1 if stream else manifest.is_timed(first)
    if len(manifest.frames) != 1 or not manifest.frames[0].is_token or not each:
        raise DataError(
            "task 'next-token' is for models of one token per step: choose another task"
        )


def _next_tokens(manifest: Manifest, data: SequenceData) -> Text:
    """Without `y` the targets are the next tokens of `x`."""
    _check_token_model(manifest)
    size = manifest.outputs[0].size
    if manifest.frames[0].vocabulary != size:
        raise DataError(
            f"task 'next-token' without `y` needs an output per token, "
            f"{manifest.frames[0].vocabulary}, the model has {size}: save `y`"
        )
    if data.lengths.max() < 2:
        raise DataError(
            "task 'next-token' without `y` needs sequences of two tokens or more: save `y`"
        )
    return Text(data.x[:, 1:].astype(np.int64), data.lengths - 1)


def _arrays(manifest: Manifest, data: SequenceData) -> list[Array]:
    names = [frame.name for frame in manifest.frames]
    if len(names) == 1 and data.inputs is None:
        return [data.x]
    if set(data.inputs or ()) != set(names):
        got = "`x` alone" if data.inputs is None else sorted(data.inputs)
        raise DataError(f"the model takes the inputs {names}, got {got}: give an array for each")
    return [data.inputs[name] for name in names] if data.inputs else []


def _check_tokens(frame: TensorSpec, x: Array, real: npt.NDArray[np.bool_]) -> None:
    if frame.vocabulary is None:
        return
    bad = real & bad_frames(frame, x)
    if bad.any():
        sequence, place = np.argwhere(bad)[0]
        raise DataError(
            f"tokens must be in 0..{frame.vocabulary - 1}, got {x[sequence, place]} in "
            f"sequence {sequence}, frame {place}: encode with the model's vocabulary"
        )
