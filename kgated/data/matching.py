"""Converts labels to class numbers, and checks that two data sets fit each other."""

from dataclasses import replace

import numpy as np
from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.info_check import renumbered


def with_class_numbers(data: SequenceData) -> SequenceData:
    """Convert labels that are floats or booleans of classes to integers."""
    y = data.y
    if y is None or y.ndim != 1 or y.dtype.kind not in "bf":
        return data
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.rint(y)).all()):
        return data
    return replace(data, y=y.astype(np.int64))


def check_class_names(data: SequenceData, classes: int, where: object) -> None:
    """Refuse class names of another number than the classes of the labels; `ValueError`."""
    names = data.info.class_names
    if names is not None and len(names) != classes:
        raise ValueError(
            f"{where}: `class_names` has {len(names)} names, the labels have {classes} classes: "
            "each class must have a sequence, and each a name"
        )


def match_validation(train: SequenceData, validation: SequenceData, where: object) -> SequenceData:
    """The validation data with the class numbers of the training data.

    Args:
        train: to learn from.
        validation: to choose the weights by.
        where: the validation file, for the message.

    Raises:
        ValueError: other features, another period or front end, a class that training does not
            have, or a recording or person that stands in both.
    """
    for name in ("feature_names", "sample_period_s", "front_end"):
        a, b = getattr(train.info, name), getattr(validation.info, name)
        if a is not None and b is not None and a != b:
            raise ValueError(
                f"{where}: the {name.removesuffix('_s').replace('_', ' ')} of the validation data "
                "differs from that of the training data: make both by one call of `kgated data`, "
                "with --split valid=0.1"
            )
    if train.groups is not None and validation.groups is not None:
        both = np.intersect1d(train.groups, validation.groups)
        if len(both):
            raise ValueError(
                f"{where}: {str(both[0]).partition('#')[0]!r} is in the training data and in "
                "the validation data: make both by one call of `kgated data`, with --split "
                "valid=0.1 and --group"
            )
    names, own = train.info.class_names, validation.info.class_names
    if validation.y is None or names is None or own in (None, names):
        return validation
    try:
        y = renumbered(validation.y, own, names)
    except DataError as error:
        raise ValueError(f"{where}: {error}") from None
    return replace(validation, y=y, info=replace(validation.info, class_names=names))
