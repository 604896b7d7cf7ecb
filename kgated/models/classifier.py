"""From an `.npz` data set to a trained classifier on disk: what `kgated train` does."""

import os
from pathlib import Path

import keras
from kgated_edge.evaluation.dataset import load_npz

from kgated.atomic_write import check_writable
from kgated.cells import choose
from kgated.data import real_frames, split
from kgated.layers import CELLS
from kgated.models.sequence import sequence_classifier
from kgated.training import Plan, fit

VALIDATION = 0.2


def train_classifier(
    data: str | Path,
    output: str | Path,
    *,
    validation: str | Path | None = None,
    cell: str = "LSTM",
    units: int = 64,
    layers: int = 1,
    dropout: float = 0.3,
    plan: Plan | None = None,
    folder: str | Path | None = None,
    tensorboard: bool = False,
    quiet: bool = False,
) -> keras.callbacks.History:
    """Train a classifier on an `.npz` data set and write it as a `.keras` file: `kgated train`.

    Args:
        data: sequences to learn from, with labels y (N,) in 0..classes-1.
        output: the `.keras` file, written whole when the training has ended.
        validation: sequences to choose the weights by. None: a fifth of each class of `data`.
        cell: "LSTM", "PeepholeLSTM" or "GRU".
        units: the width of each recurrent layer.
        layers: how many recurrent layers.
        dropout: after each recurrent layer.
        plan: the rest; its seed is that of the split, the weights and the order too, its precision
            that of the recurrent layers.
        folder: see `fit`; None: no log, and no going on after a kill.
        tensorboard: see `fit`.
        quiet: show no progress.

    Returns:
        The history; see `fit`.

    Raises:
        ValueError, DivergenceError: see `fit`; an unknown `cell`; `output` is no `.keras` file.
        OSError: a file can't be read or written.
    """
    plan, output = plan or Plan(), check_writable(output)
    if output.suffix != ".keras":
        raise ValueError(f"`output` must end in .keras, Keras's format. Received: {output}")
    train = load_npz(data)
    if train.y is None:
        raise ValueError(f"{data}: there are no labels `y` to learn: save one per sequence")
    classes = int(train.y.max()) + 1
    if validation is None:
        train, held_out = split(train, VALIDATION, seed=plan.seed)
    else:
        held_out = load_npz(validation)
    model = sequence_classifier(
        choose("cell", cell, CELLS),
        frames=real_frames(train),
        classes=classes,
        units=units,
        layers=layers,
        dropout=dropout,
        seed=plan.seed,
        dtype=plan.precision,
        name=f"{cell.lower()}_classifier",
    )
    history = fit(model, train, held_out, plan, quiet=quiet, folder=folder, tensorboard=tensorboard)
    temporary = output.with_name(f".{output.name}")
    model.save(temporary)
    os.replace(temporary, output)
    return history
