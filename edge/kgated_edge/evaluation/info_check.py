"""Compares the description of a data set with the manifest of a model."""

import math
from dataclasses import replace

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.format.manifest import Manifest
from kgated_edge.format.tensor_spec import Array


def check_info(manifest: Manifest, data: SequenceData) -> None:
    """Refuses data of other features, another period or another front end than the model's.

    Raises:
        DataError: what differs, and what to do.
    """
    info = data.info
    if manifest.feature_names and info.feature_names:
        _check_features(manifest.feature_names, info.feature_names)
    if manifest.front_end is not None and info.front_end is not None:
        _check_front_end(manifest.front_end.differences(info.front_end))
    period, expected = info.sample_period_s, manifest.sample_period_s
    if period and expected and not math.isclose(period, expected, rel_tol=1e-3):
        raise DataError(
            f"the sample period of the data is {period * 1e3:g} ms, the model's "
            f"{expected * 1e3:g} ms: resample by `kgated data --rate {1 / expected:g}`"
        )


def _check_front_end(differences: list[str]) -> None:
    if differences:
        raise DataError(
            f"the front end of the data differs from the model's: {', '.join(differences)}: "
            "make the data set again with the options of training"
        )


def _check_features(expected: tuple[str, ...], names: tuple[str, ...]) -> None:
    if names != expected:
        raise DataError(
            f"the features of the data are {_short(names)}, the model was trained on "
            f"{_short(expected)}: choose the columns in that order, by `kgated data --columns`"
        )


def _short(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, ... ({len(names)})"


def with_labels_of(manifest: Manifest, data: SequenceData) -> SequenceData:
    """The data with the class numbers of the model, where both name their classes.

    Raises:
        DataError: a class that the model does not know.
    """
    names, labels, y = data.info.class_names, manifest.labels, data.y
    if y is None or labels is None:
        return data
    if names is not None and names != labels and y.dtype.kind in "iu":
        y = renumbered(y, names, labels)
    return replace(data, y=y)


def renumbered(y: Array, names: tuple[str, ...], labels: tuple[str, ...]) -> Array:
    """Class numbers of `names` as those of `labels`.

    Raises:
        DataError: a name that is none of the labels, or a number that has no name.
    """
    if unknown := [name for name in names if name not in labels]:
        raise DataError(
            f"the data have the class {unknown[0]!r}, the model knows {_short(labels)}: use data "
            "of these classes"
        )
    if y.size and not 0 <= int(y.min()) <= int(y.max()) < len(names):
        raise DataError(
            f"`y` must be in 0..{len(names) - 1}, the class names of the data, got "
            f"{int(y.min())}..{int(y.max())}: save the numbers of the names"
        )
    return np.array([labels.index(name) for name in names], np.int64)[y]
