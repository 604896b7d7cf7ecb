"""The tasks of a study: targets, loss, scores, metric and baselines of each."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import is_real
from kgated.models import NEXT_TOKEN_LOSS
from kgated.study.tasks import baselines, scores
from kgated.study.tasks.baselines import BaselineOutputs
from kgated.study.tasks.metrics import ACCURACY, BITS, FRAME_ACCURACY, RMSE, Metric, Scores

Array = np.ndarray
Score = Callable[[Array, SequenceData], Scores]
"""Scores of outputs (N, ...) on data; one row of totals."""
Targets = Callable[[SequenceData], tuple[Array, Array]]
"""Targets and weights to train on."""
Baselines = Callable[[SequenceData, SequenceData, int], list[BaselineOutputs]]
"""Baselines from the training data, the test data and the number of outputs."""


@dataclass(frozen=True)
class Task:
    """The task that the models of a study learn.

    Attributes:
        name: the runner's name, as `kgated-edge check --task` takes it.
        per_frame: whether there is a result for each frame, else one for each sequence.
        activation: of the last layer.
        loss: to train with, of targets (N, ...) and outputs (N, ..., outputs).
        targets: what a model is trained on: targets, and the weight of each.
        score: how outputs are scored.
        metric: of the scores.
        baselines: the predictions of simple models, see `BaselineOutputs`.
        augments: whether the training data are augmented.
        has_classes: whether an output is a class.
        takes_tokens: whether a frame is a token, else a vector of features.
    """

    name: str
    per_frame: bool
    activation: str | None
    loss: keras.losses.Loss
    targets: Targets
    score: Score
    metric: Metric
    baselines: Baselines
    augments: bool = False
    has_classes: bool = False
    takes_tokens: bool = False

    @property
    def is_regression(self) -> bool:
        """Whether the results are numbers."""
        return not (self.has_classes or self.takes_tokens)

    @property
    def predicts_next(self) -> bool:
        """Whether the target of a frame is the next one."""
        return self.takes_tokens


_LABELS, _SQUARES = keras.losses.SparseCategoricalCrossentropy(), keras.losses.MeanSquaredError()
CLASSIFICATION = Task(
    name="classification",
    per_frame=False,
    activation="softmax",
    loss=_LABELS,
    targets=scores.sequence_targets,
    score=scores.correct_decisions,
    metric=ACCURACY,
    baselines=baselines.of_classes,
    augments=True,
    has_classes=True,
)
FRAMES = Task(
    name="frame-classification",
    per_frame=True,
    activation="softmax",
    loss=_LABELS,
    targets=scores.frame_targets,
    score=scores.correct_frames,
    metric=FRAME_ACCURACY,
    baselines=baselines.of_frame_classes,
    has_classes=True,
)
REGRESSION = Task(
    name="regression",
    per_frame=False,
    activation=None,
    loss=_SQUARES,
    targets=scores.sequence_targets,
    score=scores.squared_errors,
    metric=RMSE,
    baselines=baselines.of_numbers,
)
FRAME_REGRESSION = Task(
    name="regression",
    per_frame=True,
    activation=None,
    loss=_SQUARES,
    targets=scores.frame_targets,
    score=scores.frame_errors,
    metric=RMSE,
    baselines=baselines.of_frame_numbers,
)
NEXT_TOKEN = Task(
    name="next-token",
    per_frame=True,
    activation=None,
    loss=NEXT_TOKEN_LOSS,
    targets=scores.token_targets,
    score=scores.token_bits,
    metric=BITS,
    baselines=baselines.of_tokens,
    takes_tokens=True,
)
TASKS = (CLASSIFICATION, FRAMES, REGRESSION, FRAME_REGRESSION, NEXT_TOKEN)
NAMES = tuple(dict.fromkeys(task.name for task in TASKS))


def choose_task(data: SequenceData, name: str | None, where: object) -> Task:
    """The task of a data set, by its frames and targets.

    Args:
        data: the sequences.
        name: one of `NAMES`; None: what the data say.
        where: the file, for the message.

    Raises:
        ValueError: an unknown name, or data that no task, or not this one, can learn from.
    """
    if name is not None and name not in NAMES:
        raise ValueError(f"--task must be one of {list(NAMES)}. Received: {name!r}")
    if data.x.ndim == 2 and data.y is None and name in (None, NEXT_TOKEN.name):
        return NEXT_TOKEN
    if data.x.ndim != 3:
        raise ValueError(
            f"{where}: `x` must be (N, T, features) frames, or (N, T) tokens without `y`. "
            f"Received: shape {data.x.shape}{'' if data.y is None else ' with `y`'}; reshape each "
            "frame to one row, encode tokens, or leave `y` out to predict the next token"
        )
    if data.y is None:
        raise ValueError(f"{where}: there are no labels `y` to learn: save one per sequence")
    integers = name == REGRESSION.name
    fitting = [t for t in TASKS if not t.takes_tokens and _fits(t, data, integers)]
    named = [task for task in fitting if name in (None, task.name)]
    if not named:
        names = " or ".join(repr(task.name) for task in fitting) or "no task"
        wanted = "" if name is None else f", not {name!r}"
        raise ValueError(
            f"{where}: `y` has shape {data.y.shape} of {data.y.dtype}, which fits {names}{wanted}: "
            "save a class (N,) or a class for each frame (N, T) as integers, or targets (N, ...) "
            "or (N, T, ...) as floats"
        )
    return named[0]


def _fits(task: Task, data: SequenceData, integers: bool) -> bool:
    """Whether targets have the shape and the type of a task; `integers` may be numbers to learn."""
    y = np.asarray(data.y)
    is_per_frame = y.ndim > 1 and y.shape[:2] == data.x.shape[:2]
    shape_fits = is_per_frame == task.per_frame and y.ndim <= 2 + is_per_frame
    if task.is_regression:
        return shape_fits and y.dtype.kind in ("iuf" if integers else "f")
    return shape_fits and y.ndim == 1 + task.per_frame and _are_classes(y, data)


def _are_classes(y: Array, data: SequenceData) -> bool:
    """Integers or booleans; of floats those alone that are 0, 1, ... without gaps."""
    if y.dtype.kind != "f":
        return y.dtype.kind in "biu"
    real = y if y.ndim == 1 else y[is_real(data.lengths, y.shape[1])]
    labels = np.unique(real)
    return 1 < len(labels) < len(real) and np.array_equal(labels, np.arange(len(labels)))


def as_targets(task: Task, data: SequenceData) -> Array | None:
    """The targets in the type of a task: integers for classes, float32 for numbers."""
    if data.y is None or task.predicts_next:
        return None
    return data.y.astype(np.int64 if task.has_classes else np.float32)
