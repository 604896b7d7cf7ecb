"""A linear classifier on the same sequences, as a baseline for the recurrent models."""

from typing import Any

import numpy as np

from kgated.compare.results import Baseline
from kgated.data import SequenceData, zero_padded
from kgated.optional_imports import from_demo
from kgated.training.batches import resampled

# Number of frames to resample a sequence to before flattening it; None: zero padding.
FRAMES = (None, 2, 4, 8)
STRENGTHS = (0.1, 1.0, 10.0)
FOLDS = 5


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
    return baseline_decisions(train, test, seed=seed)[0]


def baseline_decisions(
    train: SequenceData, test: SequenceData, *, seed: int = 0
) -> tuple[Baseline, np.ndarray]:
    """As `linear_baseline`, with which test sequences it decides right, (N,) boolean."""
    steps = max(train.x.shape[1], test.x.shape[1])
    searches = [_search(vectors(train, frames, steps), train.y, seed) for frames in FRAMES]
    best = int(np.argmax([search.best_score_ for search in searches]))
    frames, search = FRAMES[best], searches[best]
    features = "padded frames" if frames is None else f"{frames} frames resampled over the sequence"
    strength = search.best_params_["logisticregression__C"]
    right = search.predict(vectors(test, frames, steps)) == test.y
    description = f"logistic regression on {features}, C={strength:g}"
    return Baseline(description, float(search.best_score_), float(right.mean())), right


def vectors(data: SequenceData, frames: int | None, steps: int) -> np.ndarray:
    """Each sequence as one vector: resampled to `frames` frames, or padded to `steps`."""
    if frames is None:
        x = zero_padded(data)
        x = np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)))
    else:
        x = resampled(data.x, data.lengths, np.full(len(data), frames))
    return x.reshape(len(x), -1)


def _search(x: np.ndarray, y: np.ndarray | None, seed: int) -> Any:
    linear, selection = from_demo("sklearn.linear_model"), from_demo("sklearn.model_selection")
    scale = from_demo("sklearn.preprocessing").StandardScaler()
    chain = from_demo("sklearn.pipeline").make_pipeline
    model = chain(scale, linear.LogisticRegression(max_iter=2000))
    count = min(FOLDS, int(np.unique(np.asarray(y), return_counts=True)[1].min()))
    folds = selection.StratifiedKFold(count, shuffle=True, random_state=seed)
    grid = {"logisticregression__C": STRENGTHS}
    return selection.GridSearchCV(model, grid, cv=folds).fit(x, y)
