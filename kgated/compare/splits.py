"""The data of a comparison in three parts, checked before anything is trained."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData, load_npz
from kgated_edge.evaluation.file_array import FileArray

from kgated.data import class_count, real_frames, split
from kgated.data.matching import check_class_names, match_validation, with_class_numbers

TEST, VALIDATION = 0.2, 0.2
# Two to train on, so that cross-validation has two folds, and one each to validate and to test.
MIN_OF_CLASS = 4


@dataclass(frozen=True, eq=False)
class Parts:
    """The data set of a comparison.

    Attributes:
        train: what the weights are learned from.
        validation: what the weights and hyperparameters are chosen by.
        test: what nothing is chosen by while training.
        development: `train` and `validation` together.
        labels: the name of each class.
        notes: what is unusual in the data, a sentence each.
    """

    train: SequenceData
    validation: SequenceData
    test: SequenceData
    development: SequenceData
    labels: tuple[str, ...]
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
    data: str | Path, test: str | Path | None = None, *, group: str | None = None, seed: int = 0
) -> Parts:
    """Read a data set of classes and split it by class, each group of sequences in one part.

    Args:
        data: an `.npz` file of sequences with a class label each.
        test: a second file to test on; None: a fifth of each class of `data`.
        group: a regular expression with one group, such as "(p[0-9]+)_": what has to match in the
            file's `groups` for sequences to stay together. None: equal `groups`.
        seed: of the split.

    Raises:
        ValueError: data that can't be compared on; one line that says why.
    """
    development = _grouped(_read(data), group, data)
    classes = class_count(development.y, data)
    check_class_names(development, classes, data)
    names = development.info.class_names or tuple(map(str, range(classes)))
    if classes < 2:
        raise ValueError(
            f"{data}: all sequences are of class {names[0]!r}: two classes or more can be compared"
        )
    _check_counts(development, names, MIN_OF_CLASS - (test is not None), data)
    if test is None:
        development, held_out = _split(development, TEST, seed, data)
    else:
        held_out = _matching_test(development, _grouped(_read(test), group, test), classes, test)
    train, validation = _split(development, VALIDATION, seed, data)
    notes = _notes(train, validation, held_out, names)
    return Parts(train, validation, held_out, development, names, notes)


def _read(path: str | Path) -> SequenceData:
    data = with_class_numbers(load_npz(path))
    if isinstance(data.x, FileArray):
        data = replace(data, x=np.stack([data.x[n] for n in range(len(data))]))
    if data.x.ndim != 3:
        raise ValueError(
            f"{path}: `x` must be (N, T, features) frames. Received: shape {data.x.shape}; reshape "
            "each frame to one row, and encode tokens first"
        )
    y = data.y
    if y is not None and (y.ndim != 1 or y.dtype.kind not in "iu"):
        kind = "targets that are no classes" if y.dtype.kind == "f" else "a label for each frame"
        raise ValueError(
            f"{path}: a comparison needs one class per sequence, and `y` has {kind} (shape "
            f"{y.shape} of {y.dtype}): compare takes no frame labels and no regression yet; use "
            "windows with one label, by `kgated data csv --window 2.0 --window-label majority`"
        )
    return data


def _grouped(data: SequenceData, pattern: str | None, where: object) -> SequenceData:
    """The data with the groups that a pattern takes out of theirs."""
    if pattern is None:
        return data
    if data.groups is None:
        raise ValueError(f"{where}: --group needs `groups` in the file, one text per sequence")
    try:
        matches = [re.search(pattern, name) for name in data.groups.tolist()]
        groups = np.array([match.group(1) if match else "" for match in matches])
    except (re.error, IndexError) as error:
        raise ValueError(
            f"--group must be a regular expression with one group, such as '(p[0-9]+)_' ({error}). "
            f"Received: {pattern!r}"
        ) from None
    if not all(matches):
        missing = data.groups[[match is None for match in matches]][0]
        raise ValueError(f"{where}: --group {pattern!r} does not match {str(missing)!r}")
    return replace(data, groups=groups)


def _check_counts(data: SequenceData, names: tuple[str, ...], minimum: int, where: object) -> None:
    counts = np.bincount(np.asarray(data.y), minlength=len(names))
    if counts.min() < minimum:
        rarest = int(counts.argmin())
        raise ValueError(
            f"{where}: class {names[rarest]!r} has {counts[rarest]} sequences, and {minimum} are "
            "needed to train, validate and test: record more, or leave the class out"
        )


def _split(
    data: SequenceData, fraction: float, seed: int, where: object
) -> tuple[SequenceData, SequenceData]:
    try:
        return split(data, fraction, seed=seed)
    except ValueError as error:
        reason = str(error).removeprefix("--split: ")
        raise ValueError(f"{where}: the data can't be split: {reason}") from None


def _matching_test(
    development: SequenceData, test: SequenceData, classes: int, where: object
) -> SequenceData:
    """The test data with the class numbers of the data to learn from."""
    if test.y is None:
        raise ValueError(f"{where}: there are no labels `y` to test on: save one per sequence")
    if test.x.shape[2:] != development.x.shape[2:]:
        raise ValueError(
            f"{where}: the frames must have the shape {development.x.shape[2:]} of the data to "
            f"learn from. Received: {test.x.shape[2:]}"
        )
    test = match_validation(development, test, where)
    labels = np.asarray(test.y)
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"{where}: `y` has the classes {labels.min()}..{labels.max()}, and the data to learn "
            f"from 0..{classes - 1}"
        )
    return test


def _notes(
    train: SequenceData, validation: SequenceData, test: SequenceData, names: tuple[str, ...]
) -> tuple[str, ...]:
    notes = []
    for part, data in (("validation", validation), ("test", test)):
        missing = [name for k, name in enumerate(names) if k not in np.asarray(data.y)]
        if missing:
            notes.append(f"The {part} data have no sequence of class {', '.join(missing)}.")
    constant = np.flatnonzero(np.ptp(real_frames(train), axis=0) == 0)
    if len(constant):
        listed = ", ".join(str(n) for n in constant[:8]) + (", ..." if len(constant) > 8 else "")
        notes.append(f"Constant in the training data, so of no use: feature {listed} (from 0).")
    return tuple(notes)
