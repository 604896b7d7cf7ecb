"""Warns where a trained classifier is no better than simpler answers to its validation data."""

import warnings

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real
from kgated.training.mapped import is_mapped

ADVICE = (
    "try a smaller --batch-size, a longer --patience, --cell GRU, shorter sequences "
    "(`kgated data --window`), or more recordings; `kgated compare` tries cells and options"
)
MARGIN = 2  # sequences that a simpler model must have more correct; one of them is chance


class ChanceWarning(UserWarning):
    """A trained model is no better than a simpler answer."""


def warn_of_chance(accuracy: float, train: SequenceData, validation: SequenceData) -> None:
    """Warn if a model is no better than one constant answer, or worse than nearest class means.

    Validation data of a single class are not judged: a constant answer is right on all of them.

    Args:
        accuracy: of the model on the validation data: over sequences, or frames where y is (N, T).
        train: what it learned from, with labels y.
        validation: what it is judged by, with labels y.
    """
    y = _labels(validation)
    counts = np.bincount(y)
    if (counts > 0).sum() < 2:
        return
    fraction = counts.max() / counts.sum()
    measured = f"accuracy on the validation data, {100 * accuracy:.2f}%"
    if accuracy <= fraction + 1e-6:
        names, frequent = validation.info.class_names, int(counts.argmax())
        name = repr(names[frequent]) if names else frequent
        _warn(
            f"{measured}, is no better than always answering class {name} ({100 * fraction:.2f}%)"
        )
        return
    if np.asarray(validation.y).ndim > 1 or is_mapped(train) or is_mapped(validation):
        return
    correct = int((nearest_means(train, validation) == y).sum())
    if correct - round(accuracy * len(y)) >= MARGIN:
        _warn(
            f"{measured}, is below the {100 * correct / len(y):.2f}% of a linear model: the "
            "nearest class in the mean and the deviation of each feature"
        )


def _warn(defect: str) -> None:
    warnings.warn(f"the {defect}: {ADVICE}", ChanceWarning, stacklevel=4)


def _labels(data: SequenceData) -> np.ndarray:
    y = np.asarray(data.y)
    return y if y.ndim == 1 else y[is_real(data.lengths, y.shape[1])]


def nearest_means(train: SequenceData, test: SequenceData) -> np.ndarray:
    """The class (N,) of each test sequence: the nearest class mean in `sequence_features`."""
    features, y = sequence_features(train), np.asarray(train.y)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation == 0] = 1.0
    classes = np.unique(y)
    centres = np.stack([((features - mean) / deviation)[y == k].mean(axis=0) for k in classes])
    rows = (sequence_features(test) - mean) / deviation
    nearest = ((rows[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
    decisions: np.ndarray = classes[nearest]
    return decisions


def sequence_features(data: SequenceData) -> np.ndarray:
    """Mean and standard deviation (N, 2F) float64 of each feature over each sequence."""
    rows = [data.sequence(n).astype(np.float64) for n in range(len(data))]
    return np.stack([np.concatenate([row.mean(axis=0), row.std(axis=0)]) for row in rows])
