"""Warns where a trained classifier is no better than simpler answers to its validation data."""

import warnings

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real
from kgated.training.mapped import is_mapped

ADVICE = (
    "try a smaller --batch-size, a longer --patience, --cell GRU, {length}, or more recordings; "
    "`kgated compare` tries cells and options"
)
# Sequences that a simpler model must have more correct, one of them is chance; of frames, which
# depend on those before them, a fraction.
MARGIN, FRAMES_MARGIN = 2, 0.02


class ChanceWarning(UserWarning):
    """A trained model is no better than a simpler answer."""


def warn_of_chance(accuracy: float, train: SequenceData, validation: SequenceData) -> None:
    """Warn if a model is no better than one constant answer, or worse than nearest class means.

    With labels per frame these are the means of single frames.

    Validation data of a single class are not judged: a constant answer is right on all of them.

    Args:
        accuracy: of the model on the validation data: over sequences, or frames where y is (N, T).
        train: what it learned from, with labels y.
        validation: what it is judged by, with labels y.
    """
    y, per_frame = _labels(validation), np.asarray(validation.y).ndim > 1
    counts = np.bincount(y)
    if (counts > 0).sum() < 2:
        return
    length = "another --steps" if per_frame else "shorter sequences (`kgated data --window`)"
    advice = ADVICE.format(length=length)
    fraction = counts.max() / counts.sum()
    measured = f"the accuracy on the validation data, {100 * accuracy:.2f}%"
    if accuracy <= fraction + 1e-6:
        names, frequent = validation.info.class_names, int(counts.argmax())
        name = repr(names[frequent]) if names else frequent
        _warn(
            f"{measured}, is no better than always answering class {name} ({100 * fraction:.2f}%): "
            f"{advice}"
        )
        return
    if is_mapped(train) or is_mapped(validation):
        return
    means = nearest_frame_means if per_frame else nearest_means
    correct = int((means(train, validation) == y).sum())
    margin = FRAMES_MARGIN * len(y) if per_frame else MARGIN
    if correct - round(accuracy * len(y)) >= margin:
        features = "the features" if per_frame else "the mean and the deviation of each feature"
        _warn(
            f"{measured}, is below the {100 * correct / len(y):.2f}% of a linear model: the "
            f"nearest class in {features}: {advice}"
        )


def _warn(message: str) -> None:
    warnings.warn(message, ChanceWarning, stacklevel=4)


def _labels(data: SequenceData) -> np.ndarray:
    y = np.asarray(data.y)
    return y if y.ndim == 1 else y[is_real(data.lengths, y.shape[1])]


def nearest_means(train: SequenceData, test: SequenceData) -> np.ndarray:
    """The class (N,) of each test sequence: the nearest class mean in `sequence_features`."""
    features, y = sequence_features(train), np.asarray(train.y)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    classes = np.unique(y)
    centres = np.stack([features[y == k].mean(axis=0) for k in classes])
    decisions: np.ndarray = classes[_nearest(sequence_features(test), centres, mean, deviation)]
    return decisions


def nearest_frame_means(train: SequenceData, test: SequenceData) -> np.ndarray:
    """The class (n,) of each real test frame: the nearest class mean in its features."""
    labels = np.asarray(train.y)
    sums = np.zeros((labels.max() + 1, train.x.shape[2]))
    counts, squares = np.zeros(len(sums)), np.zeros(train.x.shape[2])
    for n, length in enumerate(train.lengths.tolist()):  # one at a time: recordings may be long
        frames = train.sequence(n).astype(np.float64)
        np.add.at(sums, labels[n, :length], frames)
        counts += np.bincount(labels[n, :length], minlength=len(sums))
        squares += (frames**2).sum(axis=0)
    mean = sums.sum(axis=0) / counts.sum()
    deviation = np.sqrt(np.maximum(squares / counts.sum() - mean**2, 0.0))
    classes = np.flatnonzero(counts)
    centres = sums[classes] / counts[classes, None]
    rows = (test.sequence(n).astype(np.float64) for n in range(len(test)))
    return np.concatenate([classes[_nearest(x, centres, mean, deviation)] for x in rows])


def _nearest(x: np.ndarray, centres: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The index (n,) of the centre nearest to each row of x (n, F), in standard deviations."""
    scale = np.where(std == 0, 1.0, std)
    x, centres = (x - mean) / scale, (centres - mean) / scale
    nearest: np.ndarray = np.stack([((x - centre) ** 2).sum(axis=1) for centre in centres]).argmin(
        0
    )
    return nearest


def sequence_features(data: SequenceData) -> np.ndarray:
    """Mean and standard deviation (N, 2F) float64 of each feature over each sequence."""
    rows = [data.sequence(n).astype(np.float64) for n in range(len(data))]
    return np.stack([np.concatenate([row.mean(axis=0), row.std(axis=0)]) for row in rows])
