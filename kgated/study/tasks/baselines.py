"""Simple models as baselines: linear, nearest neighbour, bigrams, by the task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real, real_frames, take
from kgated.optional_imports import from_demo
from kgated.study.tasks.flattened_sequences import (
    best_fit,
    linear_decisions,
    quiet_convergence,
    stratified_folds,
)

Array = np.ndarray

LINEAR, NEIGHBOUR, BIGRAMS = "linear baseline", "nearest neighbour", "bigram model"
STRENGTHS = (0.1, 10.0, 1000.0)  # of ridge regression
MAX_ROWS = 20_000  # frames to fit a model of single frames on
COUNTS = (0.01, 0.1, 1.0)  # added to each pair of tokens
FOLDS = 5


@dataclass(frozen=True, eq=False)
class BaselineOutputs:
    """The outputs of a simple model on the test data.

    Attributes:
        name: such as "linear baseline".
        description: the model and its features, in words.
        outputs: as a model of the task gives them: (N, outputs), or (N, T, outputs) for each frame.
    """

    name: str
    description: str
    outputs: Array


def of_classes(train: SequenceData, test: SequenceData, outputs: int) -> list[BaselineOutputs]:
    """Logistic regression and the nearest neighbour on flattened sequences: class scores.

    Args:
        train: frames (N, T, F) and classes y (N,), to fit.
        test: sequences to classify.
        outputs: number of classes.

    Raises:
        ImportError: scikit-learn, of the extra `demo`, is missing.
    """
    folds = stratified_folds(train.y, seed=0)
    neighbours = from_demo("sklearn.neighbors").KNeighborsClassifier(1)
    linear = linear_decisions(train, test)
    nearest = best_fit(NEIGHBOUR, neighbours, {}, train, test, folds)
    one_hot = np.eye(outputs)
    return [
        BaselineOutputs(LINEAR, linear.description, one_hot[linear.predictions]),
        BaselineOutputs(NEIGHBOUR, nearest.description, one_hot[nearest.predictions]),
    ]


def of_numbers(train: SequenceData, test: SequenceData, outputs: int) -> list[BaselineOutputs]:
    """Ridge regression and the nearest neighbour on flattened sequences: numbers (N, outputs).

    Args and Raises: as for `of_classes`, with targets y (N,) or (N, outputs).
    """
    if len(train) < 2:
        mean = np.broadcast_to(np.asarray(train.y).reshape(1, outputs), (len(test), outputs))
        return [BaselineOutputs(LINEAR, "the target of the one training sequence", mean)]
    folds = _folds(len(train))
    ridge = from_demo("sklearn.linear_model").Ridge()
    linear = best_fit("ridge regression", ridge, {"ridge__alpha": STRENGTHS}, train, test, folds)
    neighbours = from_demo("sklearn.neighbors").KNeighborsRegressor(1)
    nearest = best_fit(NEIGHBOUR, neighbours, {}, train, test, folds)
    return [
        BaselineOutputs(LINEAR, linear.description, linear.predictions.reshape(len(test), outputs)),
        BaselineOutputs(
            NEIGHBOUR, nearest.description, nearest.predictions.reshape(len(test), outputs)
        ),
    ]


def of_frame_classes(
    train: SequenceData, test: SequenceData, outputs: int
) -> list[BaselineOutputs]:
    """Logistic regression and the nearest neighbour on each frame alone: scores (N, T, outputs).

    Args and Raises: as for `of_classes`, with classes y (N, T).
    """
    logistic = from_demo("sklearn.linear_model").LogisticRegression(max_iter=1000)
    neighbours = from_demo("sklearn.neighbors").KNeighborsClassifier(1)
    one_hot = np.eye(outputs)
    return [
        BaselineOutputs(name, f"{text} on each frame", _on_frames(model, train, test, one_hot))
        for name, text, model in (
            (LINEAR, "logistic regression", logistic),
            (NEIGHBOUR, NEIGHBOUR, neighbours),
        )
    ]


def of_frame_numbers(
    train: SequenceData, test: SequenceData, outputs: int
) -> list[BaselineOutputs]:
    """Ridge regression and the nearest neighbour on each frame alone: numbers (N, T, outputs).

    Args and Raises: as for `of_classes`, with targets y (N, T) or (N, T, outputs).
    """
    ridge = from_demo("sklearn.linear_model").RidgeCV(STRENGTHS)
    neighbours = from_demo("sklearn.neighbors").KNeighborsRegressor(1)
    return [
        BaselineOutputs(
            name, f"{text} on each frame", _on_frames(model, train, test, None, outputs)
        )
        for name, text, model in (
            (LINEAR, "ridge regression", ridge),
            (NEIGHBOUR, NEIGHBOUR, neighbours),
        )
    ]


def of_tokens(train: SequenceData, test: SequenceData, outputs: int) -> list[BaselineOutputs]:
    """A bigram model: the log probability of each next token, (N, T, outputs).

    Args:
        train: tokens (N, T). A fifth of it chooses the count that is added to each pair (additive
            smoothing).
        test: tokens to predict the next of.
        outputs: size of the vocabulary.
    """
    order = np.random.default_rng(0).permutation(len(train))
    aside = order[: len(order) // FOLDS]
    losses = {}
    if len(aside):
        rest = take(train, order[len(aside) :])
        held_out = take(train, aside)
        losses = {k: _bits(_log_bigrams(rest, outputs, k), held_out) for k in COUNTS}
    added = min(losses, key=losses.__getitem__) if losses else COUNTS[-1]
    table = _log_bigrams(train, outputs, added)
    description = f"counts of pairs of tokens, {added:g} added to each"
    return [BaselineOutputs(BIGRAMS, description, table[test.x])]


def _log_bigrams(data: SequenceData, tokens: int, added: float) -> Array:
    """Natural logarithms of the probabilities (V, V) of the token that follows each."""
    counts = np.full((tokens, tokens), added)
    known = is_real(data.lengths - 1, data.x.shape[1] - 1)
    np.add.at(counts, (data.x[:, :-1][known], data.x[:, 1:][known]), 1.0)
    return np.asarray(np.log(counts / counts.sum(axis=1, keepdims=True)))


def _bits(table: Array, data: SequenceData) -> float:
    known = is_real(data.lengths - 1, data.x.shape[1] - 1)
    return float(-table[data.x[:, :-1][known], data.x[:, 1:][known]].mean())


def _on_frames(
    model: Any, train: SequenceData, test: SequenceData, table: Array | None, outputs: int = 0
) -> Array:
    """The outputs (N, T, outputs) of a model fitted to single frames; classes by their `table`."""
    pipeline = from_demo("sklearn.pipeline").make_pipeline
    scale = from_demo("sklearn.preprocessing").StandardScaler()
    x, y = real_frames(train), np.asarray(train.y)[is_real(train.lengths, train.x.shape[1])]
    rows = np.random.default_rng(0).permutation(len(x))[:MAX_ROWS]
    with quiet_convergence():
        fitted = pipeline(scale, model).fit(x[rows], y[rows])
    predicted = fitted.predict(real_frames(test))
    values = predicted.reshape(len(predicted), outputs) if table is None else table[predicted]
    real = is_real(test.lengths, test.x.shape[1])
    result = np.zeros((*real.shape, values.shape[1]))
    result[real] = values
    return result


def _folds(count: int) -> Any:
    return from_demo("sklearn.model_selection").KFold(
        min(FOLDS, count), shuffle=True, random_state=0
    )
