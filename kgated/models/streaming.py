"""Train and save a classifier of frames: the implementation of `kgated train --streaming`."""

from pathlib import Path

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData, load_npz

from kgated.cells import choose
from kgated.data import frame_class_count, real_frames, split_recordings
from kgated.data.matching import check_class_names, match_validation
from kgated.layers import CELLS
from kgated.models.chance import warn_of_chance
from kgated.models.classifier import best_accuracy, keras_file, save_model, set_aside
from kgated.models.frame import frame_classifier
from kgated.training import Plan, fit_streaming
from kgated.training.streaming import STEPS


def train_streaming(
    data: str | Path,
    output: str | Path,
    *,
    validation: str | Path | None = None,
    cell: str = "LSTM",
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.3,
    steps: int = STEPS,
    stride: int = 1,
    plan: Plan | None = None,
    quiet: bool = False,
) -> keras.callbacks.History:
    """Train a classifier of frames on long recordings: `kgated train --streaming`.

    Args:
        data: recordings with labels per frame y (N, T) in 0..classes-1; each class must occur.
        output: the `.keras` file, written when the training has ended.
        validation: recordings whose loss selects the best weights. None: a fifth of `data`.
        cell: "LSTM", "PeepholeLSTM" or "GRU".
        units: the width of each recurrent layer.
        layers: the number of recurrent layers.
        dropout: the rate of the Dropout after each recurrent layer, 0 to below 1.
        steps: frames per chunk; see `fit_streaming`.
        stride: frames per answer, see `frame_classifier`; `steps` is a multiple of it.
        plan: the options of the training.
        quiet: show no progress.

    Returns:
        The history; see `fit_streaming`. A `ChanceWarning` says that the model is no better on the
        validation data than always answering the most frequent class, or worse than a linear model
        of single frames.

    Raises:
        ValueError, DivergenceError: see `fit_streaming`. Or `cell` is unknown, `output` is not a
            `.keras` file, a class has no labels, or there is one recording, or recordings that
            can't be divided, and no validation data.
        KeyboardInterrupt: Ctrl-C; nothing is written.
        OSError: a file can't be read or written.
    """
    plan, output = plan or Plan(), keras_file(output)
    train = load_npz(data)
    classes = frame_class_count(train, data)
    check_class_names(train, classes, data)
    train, held_out = _with_validation(train, data, validation, plan.seed)
    model = frame_classifier(
        choose("cell", cell, CELLS),
        frames=np.asarray(real_frames(train), np.float32),
        classes=classes,
        units=units,
        layers=layers,
        dropout=dropout,
        stride=stride,
        seed=plan.seed,
        dtype=plan.precision,
        name=f"{cell.lower()}_frame_classifier",
        info=train.info,
    )
    try:
        history = fit_streaming(model, train, held_out, plan, steps=steps, quiet=quiet)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the training was stopped; nothing was written") from None
    save_model(model, output)
    warn_of_chance(best_accuracy(history.history), train, held_out)
    return history


def _with_validation(
    train: SequenceData, data: str | Path, validation: str | Path | None, seed: int
) -> tuple[SequenceData, SequenceData]:
    """The recordings for training, and those for validation."""
    if validation is not None:
        return train, match_validation(train, load_npz(validation), validation)
    if len(train) < 2:
        raise ValueError(
            f"{data}: there is only one recording: add --validation, or cut the recording in two"
        )
    return set_aside(split_recordings, train, data, seed)
