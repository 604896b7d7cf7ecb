"""Chooses the task of a model: the named one, or by `y` and the model."""

from collections.abc import Iterable

import numpy as np

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.multilabel import are_unit
from kgated_edge.evaluation.targets import Targets
from kgated_edge.format.manifest import Manifest
from kgated_edge.text.sampling import are_probabilities

CLASSIFICATION, FRAMES, MULTI_LABEL = "classification", "frame-classification", "multi-label"
REGRESSION, NEXT_TOKEN = "regression", "next-token"
TASKS = (CLASSIFICATION, FRAMES, MULTI_LABEL, REGRESSION, NEXT_TOKEN)
OLD_NAMES = {
    "classes": CLASSIFICATION,
    "frames": FRAMES,
    "numbers": REGRESSION,
    "text": NEXT_TOKEN,
}
"""Older names of the tasks, which stay valid."""
_TASKS_BY_METRIC = {
    "accuracy": (CLASSIFICATION, FRAMES),
    "mae": (REGRESSION,),
    "rmse": (REGRESSION,),
    "r2": (REGRESSION,),
    "f1_micro": (MULTI_LABEL,),
    "f1_macro": (MULTI_LABEL,),
    "subset_accuracy": (MULTI_LABEL,),
    "bits_per_character": (NEXT_TOKEN,),
}


def canonical_task(task: str | None, known: Iterable[str] = TASKS) -> str | None:
    """The name of a task in place of an older one.

    Args:
        task: a task, an older name of one, or None.
        known: the tasks that there are.

    Raises:
        EdgeError: no such task.
    """
    name = OLD_NAMES.get(task, task) if isinstance(task, str) else task
    if name is not None and name not in known:
        raise EdgeError(f"`task` must be one of {list(known)}, got {task!r}")
    return name


def choose_task(manifest: Manifest, data: SequenceData, targets: Targets) -> str:
    """The one task that `y` and the model fit.

    The shape, type and values of `y` say which tasks can score it. Where there are several, the
    metrics of the float model in the manifest decide, then whether the golden outputs are
    probabilities of classes, or of labels each by itself, then whether `y` is `x` a token later.

    Raises:
        DataError: more than one task fits; the message names them. `y` fits none.
    """
    tasks = _fitting(manifest, targets)
    if len(tasks) > 1:
        tasks = _narrowed(tasks, manifest, data, targets)
    if len(tasks) > 1:
        names = " or ".join(f"`task={task!r}`" for task in tasks)
        raise DataError(
            f"`y` of shape {targets.y.shape}, {targets.y.dtype}, fits several tasks: give {names}"
        )
    return tasks[0]


def _fitting(manifest: Manifest, targets: Targets) -> list[str]:
    """The tasks that can score `y`; where none can, the one whose message says the most."""
    y, classes = targets.y, targets.classes
    per_sequence, per_frame = targets.shapes_of_labels
    is_integer, tasks = y.dtype.kind in "iu", []
    if classes == 1:
        return _fitting_single_output(manifest, targets)
    if is_integer and y.shape == per_sequence:
        tasks.append(CLASSIFICATION)
    if is_integer and y.shape == per_frame and (not targets.is_single or not targets.fits_numbers):
        tasks += [FRAMES, *([NEXT_TOKEN] if _predicts_tokens(manifest) else [])]
    if targets.are_class_probabilities:
        tasks.append(FRAMES if targets.is_per_frame else CLASSIFICATION)
    if targets.are_flags:
        tasks.append(MULTI_LABEL)
    if targets.fits_numbers:
        tasks.append(REGRESSION)
    return tasks or [REGRESSION if y.dtype.kind == "f" else CLASSIFICATION]


def _fitting_single_output(manifest: Manifest, targets: Targets) -> list[str]:
    """The tasks of a model with one output: a number, or the probability of the second class."""
    y = targets.y
    has_probabilities = are_unit(manifest.golden.outputs[targets.output.name])
    is_binary = manifest.is_binary or (y.dtype.kind in "biu" and has_probabilities)
    if is_binary and targets.are_binary_labels:
        return [CLASSIFICATION if y.shape == targets.shapes_of_labels[0] else FRAMES]
    return [REGRESSION]


def _predicts_tokens(manifest: Manifest) -> bool:
    """Whether there is a token per step, and an output for each."""
    frames = manifest.frames
    return len(frames) == 1 and frames[0].vocabulary == manifest.outputs[0].size


def _narrowed(
    tasks: list[str], manifest: Manifest, data: SequenceData, targets: Targets
) -> list[str]:
    """The tasks that the model's manifest indicates, or all."""
    known = {task for name in manifest.figures for task in _TASKS_BY_METRIC.get(name, ())}
    golden = manifest.golden.outputs[manifest.outputs[0].name]
    rows = golden.reshape(len(golden), -1)
    evidence = [known]
    if NEXT_TOKEN in tasks:
        evidence.append({NEXT_TOKEN if _are_next_tokens(data, targets) else FRAMES})
    if are_probabilities(rows):
        evidence.append({CLASSIFICATION, FRAMES, NEXT_TOKEN})
    elif are_unit(rows) and not targets.are_class_probabilities:
        evidence.append({MULTI_LABEL})
    for preferred in evidence:
        tasks = [task for task in tasks if task in preferred] or tasks
    return tasks


def _are_next_tokens(data: SequenceData, targets: Targets) -> bool:
    """Whether `y` is `x` a token later, where both are real."""
    if data.x.ndim != 2 or data.x.shape[1] < 2:
        return False
    same = targets.y[:, :-1] == data.x[:, 1:]
    return bool(np.all(same | ~targets.real[:, 1:]))
