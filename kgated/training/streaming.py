"""Training of a classifier of frames on long recordings, with carried state."""

import contextlib
import math
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from rich.console import Console

from kgated.data import SensorAugmentation
from kgated.data.moments import feature_moments
from kgated.keras_internals.training import build_for_training
from kgated.training.callbacks import StopOnDivergence
from kgated.training.distribution import clip_after_sum
from kgated.training.fitting import MAX_BATCH, MIN_STEPS, Plan, check_precision, compile_for_labels
from kgated.training.progress import ProgressBar
from kgated.training.recordings import NextEpoch, Recordings, X, carry_state

Array = np.ndarray
STEPS = 100


class DisturbedRecordings(Recordings):
    """`Recordings` whose frames are augmented differently in each epoch.

    Args:
        arguments: positional arguments of `Recordings`.
        augmentation: of the frames of each chunk.
        options: keyword arguments of `Recordings`.
    """

    def __init__(self, *arguments: Any, augmentation: SensorAugmentation, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.augmentation = augmentation
        self.deviation = np.sqrt(feature_moments(np.concatenate(self.x))[1])

    def set_epoch(self, epoch: int) -> None:
        """Order the recordings for an epoch, and seed its augmentation."""
        super().set_epoch(epoch)
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[dict[str, Array], Array, Array]:
        inputs, y, weights = super().__getitem__(index)
        rng = np.random.default_rng((self.seed or 0, self.epoch, index))
        lengths = (weights > 0).sum(axis=1) * self.stride
        inputs[X] = self.augmentation(inputs[X], lengths, self.deviation, rng)
        return inputs, y, weights


def fit_streaming(
    model: keras.Model,
    train: SequenceData,
    validation: SequenceData,
    plan: Plan | None = None,
    *,
    steps: int = STEPS,
    quiet: bool = False,
    console: Console | None = None,
) -> keras.callbacks.History:
    """Train a classifier of frames with carried state, and leave it with its best weights.

    The recordings are processed in chunks of `steps` frames, and the state is carried from chunk to
    chunk, as in a stream on the device. Long recordings are cut into sections, one per row of a
    batch; a section starts from a state of zeros.

    Args:
        model: (B, T, F) to (B, T, classes) probabilities, such as `frame_classifier`. With strides
            of k frames it is (B, T / k, classes), and learns the label of the last of k frames.
        train: frames (N, T, F) float32 and labels per frame y (N, T) in 0..classes-1.
        validation: the same; the weights of the epoch with the lowest validation loss are kept.
        plan: all other options; `batch_size` is the maximum number of rows, 32 by default. Without
            it an epoch passes over few recordings several times, so that it has six steps.
            `label_smoothing` and `disturbance` are not used, `augmentation` is.
        steps: frames per chunk, the maximum reach of the gradient.
        quiet: show no progress.
        console: where to show the progress; None: the terminal.

    Returns:
        Keras's history; losses and accuracies are means over frames.

    Raises:
        ValueError: labels per frame are missing or out of range, the data hold NaN or inf,
            `carry_state` does not support the model, the precisions of model and plan differ, or
            `steps` is no multiple of the model's stride.
        DivergenceError: the loss became NaN or infinite.
    """
    plan = plan or Plan()
    check_precision(model, plan.precision)
    rows = min(
        plan.batch_size or MAX_BATCH, _full_rows(train, steps), _full_rows(validation, steps)
    )
    stride, classes = stride_of(model), model.output_shape[-1]
    chunks = _chunks("train", train, rows, steps, classes, stride, plan)
    held_out = _chunks("validation", validation, rows, steps, classes, stride)
    stateful = carry_state(model, rows)
    rate = keras.optimizers.schedules.CosineDecay(plan.learning_rate, plan.epochs * len(chunks))
    optimizer = clip_after_sum(keras.optimizers.Adam(rate, global_clipnorm=plan.clip_norm))
    if plan.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    stateful.compile(optimizer, "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    build_for_training(stateful, chunks[0])
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=plan.patience, restore_best_weights=True
    )
    callbacks: list[Any] = [StopOnDivergence(), stopping, NextEpoch(chunks)]
    with contextlib.ExitStack() as screen:
        if not quiet:
            callbacks.append(screen.enter_context(ProgressBar(model.name, plan.epochs, console)))
        history = stateful.fit(
            chunks, validation_data=held_out, epochs=plan.epochs, callbacks=callbacks, verbose=0
        )
    model.optimizer = stateful.optimizer
    compile_for_labels(model)
    return history


def stride_of(model: keras.Model) -> int:
    """The frames per output of a model of frames (B, T, F): the product of its layers' strides."""
    return math.prod(
        layer.strides[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv1D | keras.layers.AveragePooling1D)
    )


def _full_rows(data: SequenceData, steps: int) -> int:
    """The maximum number of rows, at least 1, that have a chunk or more of data each."""
    return max(len(data), int(data.lengths.sum()) // (2 * steps), 1)


def _chunks(
    name: str,
    data: SequenceData,
    rows: int,
    steps: int,
    classes: int,
    stride: int,
    plan: Plan | None = None,
) -> Recordings:
    """The chunks of a data set's sections; in random order and augmented if there is a plan."""
    _check_labels(name, data)
    x, y = sections(data, rows, steps)
    if plan is not None and plan.batch_size is None:
        passes = -(-MIN_STEPS * rows // sum(-(-len(frames) // steps) for frames in x))
        x, y = x * passes, y * passes
    seed = None if plan is None else plan.seed
    if plan is None or plan.augmentation is None:
        return Recordings(x, y, rows, steps, seed, classes, stride)
    augmentation = plan.augmentation
    options = (x, y, rows, steps, seed, classes, stride)
    return DisturbedRecordings(*options, augmentation=augmentation)


def sections(data: SequenceData, rows: int, steps: int) -> tuple[list[Array], list[Array]]:
    """Cut the recordings into sections of complete chunks, if possible `rows` or more.

    Args:
        data: frames (N, T, F), labels per frame y (N, T).
        rows: the number of sections that are processed in parallel.
        steps: frames per chunk.

    Returns:
        The frames and the labels of each section.
    """
    assert data.y is not None
    longest = max(1, int(data.lengths.sum()) // (rows * steps)) * steps
    x, y = [], []
    for n, length in enumerate(data.lengths.tolist()):
        frames = np.asarray(data.sequence(n), np.float32)
        for begin in range(0, length, longest):
            x.append(frames[begin : begin + longest])
            y.append(np.asarray(data.y[n, begin : min(begin + longest, length)], np.int32))
    return x, y


def _check_labels(name: str, data: SequenceData) -> None:
    y = data.y
    if y is None or y.ndim != 2 or y.dtype.kind not in "iu":
        received = "none" if y is None else f"shape {y.shape} of {y.dtype}"
        raise ValueError(
            f"`{name}` must have labels `y` (N, T), an integer per frame. Received: {received}"
        )
