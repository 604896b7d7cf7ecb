"""Models of scikit-learn on flattened sequences, chosen by cross-validation."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgated.data import SequenceData, zero_padded
from kgated.optional_imports import from_demo
from kgated.training.batches import resampled

# Number of frames to resample a sequence to before flattening it; None: zero padding.
FRAMES = (None, 2, 4, 8)
MAX_NUMBERS = 512  # of padded frames; with more of them a fit takes minutes
STRENGTHS = (0.1, 1.0, 10.0)
FOLDS = 5


def linear_decisions(train: SequenceData, test: SequenceData, *, seed: int = 0) -> "Fitted":
    """Logistic regression on flattened sequences, with the class (N,) of each test sequence.

    Args:
        train: frames (N, T, F) and labels y (N,), to choose and fit the classifier by.
        test: sequences to classify.
        seed: of the folds.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    folds = stratified_folds(train.y, seed)
    model = from_demo("sklearn.linear_model").LogisticRegression(max_iter=2000)
    grid = {"logisticregression__C": STRENGTHS}
    return best_fit("logistic regression", model, grid, train, test, folds)


@dataclass(frozen=True, eq=False)
class Fitted:
    """The model that cross-validation chose.

    Attributes:
        description: the model and its features, in words.
        fold_score: mean over the folds.
        predictions: for each test sequence.
    """

    description: str
    fold_score: float
    predictions: np.ndarray


def best_fit(
    name: str,
    model: Any,
    grid: Mapping[str, tuple[float, ...]],
    train: SequenceData,
    test: SequenceData,
    folds: Any,
) -> Fitted:
    """The best model on flattened sequences, over the grid and the numbers of frames.

    Args:
        name: for the description.
        model: of scikit-learn.
        grid: values to try, by their names in a pipeline.
        train: to choose and fit by.
        test: to predict.
        folds: of scikit-learn.
    """
    steps = max(train.x.shape[1], test.x.shape[1])
    pipeline = from_demo("sklearn.pipeline").make_pipeline
    scale = from_demo("sklearn.preprocessing").StandardScaler()
    search = from_demo("sklearn.model_selection").GridSearchCV
    numbers = steps * int(np.prod(train.x.shape[2:]))
    choices = [n for n in FRAMES if n is not None or numbers <= MAX_NUMBERS or len(FRAMES) == 1]
    with quiet_convergence():
        searches = [
            search(pipeline(scale, model), dict(grid), cv=folds).fit(
                flattened(train, n, steps), train.y
            )
            for n in choices
        ]
    best = int(np.argmax([search.best_score_ for search in searches]))
    frames, chosen = choices[best], searches[best]
    features = "padded frames" if frames is None else f"{frames} frames resampled over the sequence"
    values = [f", {key.split('__')[1]}={value:g}" for key, value in chosen.best_params_.items()]
    return Fitted(
        f"{name} on {features}{''.join(values)}",
        float(chosen.best_score_),
        np.asarray(chosen.predict(flattened(test, frames, steps))),
    )


@contextlib.contextmanager
def quiet_convergence() -> Iterator[None]:
    """Suppress the warning of a fit that ends at its maximum number of iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", from_demo("sklearn.exceptions").ConvergenceWarning)
        yield


def flattened(data: SequenceData, frames: int | None, steps: int) -> np.ndarray:
    """Sequences as vectors: (N, frames * F) resampled, or (N, steps * F) padded with zeros."""
    if frames is None:
        x = zero_padded(data)
        x = np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)))
    else:
        x = resampled(data.x, data.lengths, np.full(len(data), frames))
    return x.reshape(len(x), -1)


def stratified_folds(y: np.ndarray | None, seed: int) -> Any:
    """A stratified splitter of scikit-learn: each fold has its fraction of every class."""
    count = min(FOLDS, int(np.unique(np.asarray(y), return_counts=True)[1].min()))
    selection = from_demo("sklearn.model_selection")
    return selection.StratifiedKFold(count, shuffle=True, random_state=seed)
