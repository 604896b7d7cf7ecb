"""A linear classifier as a baseline for the cells."""

from kgated.data import SequenceData
from kgated.demos.cells.results import Baseline
from kgated.study.tasks.flattened_sequences import linear_decisions


def linear_baseline(train: SequenceData, test: SequenceData, *, seed: int = 0) -> Baseline:
    """Logistic regression on flattened sequences, chosen by cross-validation on the training set.

    It needs the whole sequence, resampled to a fixed number of frames, so it can't run on a stream.

    Args:
        train: frames (N, T, F) and labels y (N,); the number of frames and the strength
            of regularization are chosen by stratified cross-validation on them.
        test: sequences on which the chosen classifier is evaluated.
        seed: of the folds.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    fitted = linear_decisions(train, test, seed=seed)
    accuracy = float((fitted.predictions == test.y).mean())
    return Baseline(fitted.description, fitted.fold_score, accuracy)
