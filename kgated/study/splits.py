"""The data of a comparison in three parts, checked before anything is trained."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.file_array import FileArray

from kgated.data import class_count, is_real, real_frames, split, take
from kgated.data.matching import check_class_names, match_validation
from kgated.data.moments import scaling_moments
from kgated.data.sequences import split_recordings
from kgated.data.splitting import assign_groups
from kgated.study.chunks import MIN_GROUPS, concatenated, group_count, in_chunks, split_in_time
from kgated.study.tasks.definitions import Task, as_targets, choose_task

TEST, VALIDATION = 0.2, 0.2
# Two to train on, so that cross-validation has two folds, and one each to validate and to test.
MIN_OF_CLASS = 4
MAX_TOKENS = 1_000_000


@dataclass(frozen=True, eq=False)
class Parts:
    """The data set of a comparison.

    Attributes:
        task: what the models learn.
        train: to fit the weights.
        validation: to choose epochs and hyperparameters.
        test: to measure the results; nothing is chosen by it.
        development: `train` and `validation` together.
        labels: the name of each class; none for a task without classes.
        outputs: the number of outputs of a model: classes, numbers or tokens.
        notes: a sentence for each unusual property of the data.
    """

    task: Task
    train: SequenceData
    validation: SequenceData
    test: SequenceData
    development: SequenceData
    labels: tuple[str, ...]
    outputs: int
    notes: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.labels)

    @property
    def max_length(self) -> int:
        """Frames of the longest sequence of all parts."""
        return int(max(self.development.lengths.max(), self.test.lengths.max()))


def load_parts(
    data: str | Path,
    test: str | Path | None = None,
    *,
    task: str | None = None,
    group: str | None = None,
    seed: int = 0,
) -> Parts:
    """Read a data set and split it, each group of sequences in one part.

    Classes are split so that each part has its fraction of each. Long recordings with a result per
    frame are cut into chunks, and where there are few of them, each is split in time.

    Args:
        data: an `.npz` file of sequences with targets, or of tokens.
        test: a second file to test on; None: a fifth of `data`.
        task: see `choose_task`; None: by the shape and type of the targets.
        group: a regular expression with one group, such as "(p[0-9]+)_". Sequences stay
            together for which it finds the same text in `groups` of the file. None: those with
            equal `groups`.
        seed: of the split.

    Raises:
        ValueError: models can't be compared on the data; one line with the reason.
    """
    development, chosen = _read(data, task)
    development = _grouped(development, group, data)
    labels = _labels(chosen, development, data, 0 if test is None else 1)
    held_out = None
    if test is not None:
        held_out = _grouped(_read(test, chosen.name)[0], group, test)
        held_out = _matching_test(chosen, development, held_out, len(labels), test)
    outputs = _outputs(chosen, development, held_out, len(labels))
    train, validation, held_out = _split(chosen, development, held_out, seed, data)
    notes = _notes(chosen, train, validation, held_out, labels)
    if not chosen.takes_tokens:
        scaling_moments(real_frames(train), data)  # refuses what no model can scale
    development = concatenated(chosen, train, validation)
    return Parts(chosen, train, validation, held_out, development, labels, outputs, notes)


def _read(path: str | Path, task: str | None) -> tuple[SequenceData, Task]:
    data = load_npz(path)
    if isinstance(data.x, FileArray):
        data = replace(data, x=np.stack([data.x[n] for n in range(len(data))]))
    chosen = choose_task(data, task, path)
    data = replace(data, y=as_targets(chosen, data))
    if chosen.is_regression:
        y = np.asarray(data.y)
        real = y[is_real(data.lengths, data.x.shape[1])] if chosen.per_frame else y
        if not np.isfinite(real).all():
            raise ValueError(f"{path}: `y` holds NaN or inf: leave such sequences out")
    return (_with_next_tokens(data, path) if chosen.predicts_next else data), chosen


def _with_next_tokens(data: SequenceData, where: object) -> SequenceData:
    """The sequences of two tokens or more: a single one has no next token to predict."""
    if data.lengths.max() < 2:
        raise ValueError(f"{where}: no sequence has two tokens, so there is no next one to predict")
    data = take(data, np.flatnonzero(data.lengths >= 2))
    largest = int(real_frames(data).max())
    if largest >= MAX_TOKENS:
        raise ValueError(
            f"{where}: the largest token is {largest}, and a model has an output for each of "
            "0..largest: renumber the tokens without gaps by np.unique(x, return_inverse=True)"
        )
    return data


def _labels(task: Task, data: SequenceData, where: object, test_files: int) -> tuple[str, ...]:
    """The names of the classes, after checking that there are enough; none for other tasks."""
    if not task.has_classes:
        _check_targets_vary(task, data, where)
        return ()
    y = np.asarray(data.y)
    y = y[is_real(data.lengths, data.x.shape[1])] if task.per_frame else y
    classes = class_count(y, where)
    check_class_names(data, classes, where)
    names = data.info.class_names or tuple(map(str, range(classes)))
    if classes < 2:
        items = "frames" if task.per_frame else "sequences"
        raise ValueError(
            f"{where}: all {items} are of class {names[0]!r}: two classes or more can be compared"
        )
    if not task.per_frame:
        _check_counts(data, names, MIN_OF_CLASS - test_files, where)
    return names


def _check_targets_vary(task: Task, data: SequenceData, where: object) -> None:
    if task.is_regression:
        y = np.asarray(data.y)
        rows = y[is_real(data.lengths, data.x.shape[1])] if task.per_frame else y
        constant = np.flatnonzero(np.ptp(rows.reshape(len(rows), -1), axis=0) == 0)
        what = f"target {constant[0]} of `y` is" if len(constant) else ""
    else:
        what = "all tokens are" if np.ptp(real_frames(data)) == 0 else ""
    if what:
        raise ValueError(f"{where}: {what} the same everywhere: there is nothing to learn")
    if data.x.ndim == 2 and data.x.min() < 0:
        raise ValueError(f"{where}: tokens must be 0 or above. Received: {data.x.min()}")


def _outputs(task: Task, development: SequenceData, test: SequenceData | None, classes: int) -> int:
    if task.has_classes:
        return classes
    if task.predicts_next:
        files = [data for data in (development, test) if data is not None]
        return 1 + max(int(real_frames(data).max()) for data in files)
    y = np.asarray(development.y)
    return y.shape[-1] if y.ndim > 1 + task.per_frame else 1


def _split(
    task: Task,
    development: SequenceData,
    test: SequenceData | None,
    seed: int,
    where: object,
) -> tuple[SequenceData, SequenceData, SequenceData]:
    """Training, validation and test data."""
    held_out: SequenceData
    if task.per_frame and group_count(development) < MIN_GROUPS:
        fractions = (TEST,) * (test is None) + (VALIDATION,)
        train, validation, *rest = split_in_time(task, development, fractions, where)
        held_out = rest[0] if test is None else test
    else:
        if test is None:
            development, test = _split_off(task, development, TEST, seed, where)
        held_out = test
        train, validation = _split_off(task, development, VALIDATION, seed, where)
    if not task.per_frame:
        return train, validation, held_out
    return in_chunks(task, train), in_chunks(task, validation), in_chunks(task, held_out)


def _grouped(data: SequenceData, pattern: str | None, where: object) -> SequenceData:
    """The data with the groups that a pattern takes out of theirs."""
    if pattern is None:
        return data
    if data.groups is None:
        raise ValueError(f"{where}: --group needs `groups` in the file, one text per sequence")
    try:
        matches = [re.search(pattern, name) for name in data.groups.tolist()]
        parts = [match and match.group(1) for match in matches]
    except (re.error, IndexError) as error:
        raise ValueError(
            f"--group must be a regular expression with one group, such as '(p[0-9]+)_' ({error}). "
            f"Received: {pattern!r}"
        ) from None
    if None in parts:
        missing = str(data.groups[parts.index(None)])
        raise ValueError(f"{where}: --group {pattern!r} does not match {missing!r}")
    return replace(data, groups=np.array(parts))


def _check_counts(data: SequenceData, names: tuple[str, ...], minimum: int, where: object) -> None:
    counts = np.bincount(np.asarray(data.y), minlength=len(names))
    if counts.min() < minimum:
        raise ValueError(
            f"{where}: class {names[counts.argmin()]!r} has {counts.min()} sequences, and "
            f"{minimum} are needed to train, validate and test: record more, or leave the class out"
        )


def _split_off(
    task: Task, data: SequenceData, fraction: float, seed: int, where: object
) -> tuple[SequenceData, SequenceData]:
    try:
        if task.has_classes:
            return (split_recordings if task.per_frame else split)(data, fraction, seed=seed)
        names = np.arange(len(data)).astype(str) if data.groups is None else data.groups
        weights = data.lengths.astype(float) if task.per_frame else None
        zeros = np.zeros(len(data), np.int64)
        parts = assign_groups(names.tolist(), zeros, {"aside": fraction}, seed, weights)
        aside = parts == "aside"
        return take(data, np.flatnonzero(~aside)), take(data, np.flatnonzero(aside))
    except ValueError as error:
        reason = str(error).removeprefix("--split: ")
        raise ValueError(f"{where}: the data can't be split: {reason}") from None


def _matching_test(
    task: Task, development: SequenceData, test: SequenceData, classes: int, where: object
) -> SequenceData:
    """The test data with the class numbers of the data to learn from."""
    if test.x.shape[2:] != development.x.shape[2:]:
        raise ValueError(
            f"{where}: the frames must have the shape {development.x.shape[2:]} of the data to "
            f"learn from. Received: {test.x.shape[2:]}"
        )
    test = match_validation(development, test, where)
    if task.is_regression:
        _check_same_targets(task, development, test, where)
    if not task.has_classes:
        return test
    y = np.asarray(test.y)
    labels = y[is_real(test.lengths, test.x.shape[1])] if task.per_frame else y
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{where}: `y` has the classes {labels.min()}..{labels.max()}, and the data to learn "
            f"from 0..{classes - 1}"
        )
    return test


def _check_same_targets(
    task: Task, development: SequenceData, test: SequenceData, where: object
) -> None:
    axes = 1 + task.per_frame
    learned, tested = (np.asarray(data.y).shape[axes:] for data in (development, test))
    if learned != tested:
        raise ValueError(
            f"{where}: the targets must have the shape {learned} of the data to learn from. "
            f"Received: {tested}"
        )


def _notes(
    task: Task,
    train: SequenceData,
    validation: SequenceData,
    test: SequenceData,
    names: tuple[str, ...],
) -> tuple[str, ...]:
    notes = []
    for part, data in (("training", train), ("validation", validation), ("test", test)):
        y = np.asarray(data.y) if names else np.zeros(0)
        labels = y[is_real(data.lengths, data.x.shape[1])] if names and task.per_frame else y
        if missing := [name for k, name in enumerate(names) if k not in labels]:
            notes.append(f"The {part} data have no {_item(task)} of class {', '.join(missing)}.")
    if not task.takes_tokens:
        constant = np.flatnonzero(np.ptp(real_frames(train), axis=0) == 0)
        if len(constant):
            listed = ", ".join(map(str, constant[:8])) + (", ..." if len(constant) > 8 else "")
            notes.append(f"Constant in the training data, so of no use: feature {listed} (from 0).")
    return tuple(notes)


def _item(task: Task) -> str:
    return "frame" if task.per_frame else "sequence"
