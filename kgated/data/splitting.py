"""Splits data sets by group: all windows of a recording, or of a person, are in one part."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

TRAIN = "train"


class SplitError(ValueError):
    """Groups that can't be divided into parts.

    Attributes:
        reason: without the options of `kgated data` that the message names.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"--split: {reason}: {remedy}, or choose another --group")
        self.reason = reason


def parse_split(text: str) -> dict[str, float]:
    """The fractions in the value of `--split`.

    Args:
        text: such as "test=0.2,valid=0.1".

    Returns:
        The fraction of each part but "train", which gets the rest.

    Raises:
        ValueError: another form, a fraction outside of 0..1, or nothing left to train on.
    """
    try:
        pairs = [item.split("=") for item in text.split(",")]
        fractions = {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        fractions = {}
    names = all(re.fullmatch(r"\w[\w-]*", name) and name != TRAIN for name in fractions)
    if not fractions or not names or len(fractions) < len(text.split(",")):
        raise ValueError(
            f"--split must be such as test=0.2,valid=0.1; the rest is for training. Got {text!r}"
        )
    if not all(0 < value < 1 for value in fractions.values()) or sum(fractions.values()) >= 1:
        raise ValueError(
            f"--split must have fractions above 0 that sum to less than 1. Received: {text!r}"
        )
    return fractions


def assign_groups(
    groups: Sequence[str],
    labels: Sequence[str] | np.ndarray,
    fractions: Mapping[str, float],
    seed: int = 0,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Assign items to parts, with each group in one part.

    Groups are dealt out, in an order drawn from the seed, to the part that lacks most of the
    classes of the group, so that each part has about its fraction of each class.

    Args:
        groups: (N,) the group of each item.
        labels: (N,) the class of each item.
        fractions: of each part beside "train".
        seed: of the order.
        weights: (N,) how much each item counts; None: 1.

    Returns:
        (N,) the name of the part of each item.

    Raises:
        SplitError: a part without a group, or a class that nothing is left of for training.
    """
    names, group_of = np.unique(np.asarray(groups), return_inverse=True)
    classes, class_of = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.zeros((len(names), len(classes)))
    np.add.at(counts, (group_of, class_of), 1.0 if weights is None else weights)
    parts = [TRAIN, *fractions]
    targets = _targets(counts, [1 - sum(fractions.values()), *fractions.values()])
    assigned = _deal(counts, targets, seed)
    _swap_for_classes(counts, assigned)
    _fill_empty_parts(counts, targets, assigned)
    _check_parts(names, classes, counts, assigned, parts)
    return np.array(parts)[assigned][group_of]


def _targets(counts: np.ndarray, shares: list[float]) -> np.ndarray:
    """The amount of each class that each part should have, (parts, classes)."""
    targets = np.outer(shares, counts.sum(axis=0))
    for k, column in enumerate(counts.T):
        sizes = column[column > 0]
        if len(sizes) >= len(shares):  # each part can have a group of this class
            targets[1:, k] = np.maximum(targets[1:, k], sizes.min())
            targets[0, k] = max(sizes.min(), column.sum() - targets[1:, k].sum())
    return targets


def _deal(counts: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    dealt = np.zeros_like(targets)
    assigned = np.zeros(len(counts), np.int64)
    scale = 1 / np.maximum(counts.sum(axis=0), 1e-12)
    for n in order:
        before = ((dealt - targets) ** 2 * scale).sum(axis=1)
        after = ((dealt + counts[n] - targets) ** 2 * scale).sum(axis=1)
        assigned[n] = part = int(np.argmin(after - before))
        dealt[part] += counts[n]
    return assigned


def _swap_for_classes(counts: np.ndarray, assigned: np.ndarray) -> None:
    """Swap a group of the training part for one of another, if it then has all classes.

    Of all such pairs it is the one whose sizes are nearest, which keeps the fractions.
    """
    trained = counts[assigned == 0].sum(axis=0)
    if (trained > 0).all():
        return
    has_lacking = (counts[:, trained == 0] > 0).all(axis=1)
    others, swaps = np.flatnonzero((assigned > 0) & has_lacking), []
    for n in np.flatnonzero(assigned == 0).tolist():
        has_all = (trained - counts[n] + counts[others] > 0).all(axis=1)
        if has_all.any():
            fitting = others[has_all]
            differences = np.abs(counts[fitting].sum(axis=1) - counts[n].sum())
            swaps.append((float(differences.min()), n, int(fitting[differences.argmin()])))
    if swaps:
        _, n, m = min(swaps)
        assigned[[n, m]] = assigned[[m, n]]


def _fill_empty_parts(counts: np.ndarray, targets: np.ndarray, assigned: np.ndarray) -> None:
    """Move a group to each part that has none, where all classes stay in the training part."""
    for part in range(len(targets)):
        if (assigned == part).any():
            continue
        moves = []
        for n, source in enumerate(assigned.tolist()):
            moved = assigned.copy()
            moved[n] = part
            has_all = (counts[moved == 0].sum(axis=0) > 0).all()
            if has_all and (moved == source).any():
                moves.append((float(((counts[n] - targets[part]) ** 2).sum()), n))
        if moves:
            assigned[min(moves)[1]] = part


def _check_parts(
    names: np.ndarray,
    classes: np.ndarray,
    counts: np.ndarray,
    assigned: np.ndarray,
    parts: list[str],
) -> None:
    empty = [part for k, part in enumerate(parts) if not (assigned == k).any()]
    if empty:
        raise SplitError(
            f"{len(names)} groups are too few for {len(parts)} parts, nothing is left for "
            f"{empty[0]!r}",
            "record more",
        )
    lacking = classes[counts[assigned == 0].sum(axis=0) == 0]
    if len(lacking):
        raise SplitError(
            f"nothing is left of class {str(lacking[0])!r} to train on: all of it belongs to a "
            "group of the test data",
            "record more of it",
        )
