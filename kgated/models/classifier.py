"""Train a classifier on an `.npz` data set and save it: the implementation of `kgated train`."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
from kgated_edge.evaluation.dataset import SequenceData, load_npz

from kgated.atomic_write import check_writable
from kgated.cells import choose
from kgated.data import class_count, real_frames, split
from kgated.data.matching import check_class_names, match_validation, with_class_numbers
from kgated.data.splitting import SplitError
from kgated.layers import CELLS
from kgated.models.chance import warn_of_chance
from kgated.models.sequence import sequence_classifier
from kgated.training import Plan, fit, run_record
from kgated.training.fitting import MAX_BATCH
from kgated.training.mapped import frames_for_scaling, is_mapped

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

    The model is compiled with a loss for integer labels, so that `model.evaluate(x, y)` takes the
    labels of the data set. Ctrl-C writes the best model so far to `output`, or leaves it in
    `folder`. A `ChanceWarning` says that the model is no better on the validation data than always
    answering the most frequent class, or worse than a linear model.

    Args:
        data: training sequences with labels y (N,) in 0..classes-1; each class must occur.
        output: the `.keras` file, written when the training has ended.
        validation: sequences whose loss selects the best weights. None: a fifth of each class of
            `data`.
        cell: "LSTM", "PeepholeLSTM", "GRU", "MinGRU" or "MinLSTM".
        units: the width of each recurrent layer.
        layers: the number of recurrent layers.
        dropout: the rate of the Dropout after each recurrent layer, 0 to below 1.
        plan: the options of the training. Its seed also sets the split, the weights and the order,
            its precision that of the recurrent layers.
        folder: see `fit`. None: no log and no backup.
        tensorboard: see `fit`.
        quiet: show no progress.

    Returns:
        The history; see `fit`.

    Raises:
        ValueError, DivergenceError: see `fit`. Or `cell` is unknown, `output` is not a `.keras`
            file, a class has no labels, or `folder` holds a training with other options.
        KeyboardInterrupt: Ctrl-C; the message says where the best model so far is.
        OSError: a file can't be read or written.
    """
    plan, output = plan or Plan(), keras_file(output)
    train = with_class_numbers(load_npz(data))
    classes = class_count(train.y, data)
    check_class_names(train, classes, data)
    shape = {"units": units, "layers": layers, "dropout": dropout}
    options = {"cell": cell, **shape, "data": run_record.digest(train)}
    if validation is None:
        train, held_out = set_aside(split, train, data, plan.seed)
    else:
        held_out = with_class_numbers(load_npz(validation))
        held_out = match_validation(train, held_out, validation)
        options |= {"validation": run_record.digest(held_out)}
    options |= asdict(plan) | {"batch_size": plan.batch_size or MAX_BATCH}
    options |= {"passes": plan.passes_over(len(train))}
    run_record.check_folder(folder, options)
    model = _build(cell, train, classes, plan, **shape)
    if folder is not None:
        run_record.write(folder, options)
    screen: dict[str, Any] = {"quiet": quiet, "tensorboard": tensorboard}
    try:
        history = fit(model, train, held_out, plan, folder=folder, **screen)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(save_interrupted(model, output, folder, stop)) from None
    save_model(model, output)
    warn_of_chance(best_accuracy(history.history), train, held_out)
    return history


def keras_file(output: str | Path) -> Path:
    """The path of a model to write, after checking that it can be written; `ValueError`."""
    path = check_writable(output)
    if path.suffix != ".keras":
        raise ValueError(f"`output` must end in .keras, Keras's format. Received: {path}")
    return path


def set_aside(
    split_data: Callable[..., tuple[SequenceData, SequenceData]],
    data: SequenceData,
    where: str | Path,
    seed: int,
) -> tuple[SequenceData, SequenceData]:
    """What stays to train on, and a fifth for validation.

    Args:
        split_data: `split`, or `split_recordings` for labels per frame.
        data: to divide.
        where: the file, for the message.
        seed: of the split.

    Raises:
        ValueError: the groups can't be divided.
    """
    try:
        return split_data(data, VALIDATION, seed=seed)
    except SplitError as error:
        raise ValueError(
            f"{where}: no validation data can be set aside ({error.reason}): record more, or add "
            "--validation"
        ) from None


def best_epoch(history: dict[str, list[float]]) -> int:
    """The index of the epoch with the lowest validation loss, whose weights a training keeps."""
    losses = history["val_loss"]
    return min(range(len(losses)), key=losses.__getitem__)


def best_accuracy(history: dict[str, list[float]]) -> float:
    """The validation accuracy of the epoch with the lowest validation loss."""
    return float(history["val_accuracy"][best_epoch(history)])


def _build(
    cell: str, train: SequenceData, classes: int, plan: Plan, **shape: Any
) -> keras.Sequential:
    """Build the untrained classifier; `shape` holds units, layers and dropout."""
    return sequence_classifier(
        choose("cell", cell, CELLS),
        frames=frames_for_scaling(train) if is_mapped(train) else real_frames(train),
        classes=classes,
        seed=plan.seed,
        dtype=plan.precision,
        name=f"{cell.lower()}_classifier",
        info=train.info,
        **shape,
    )


def save_model(model: keras.Model, output: Path) -> None:
    """Save a model under a temporary name and rename it, so that no partial file remains."""
    temporary = output.with_name(f".{output.name}")
    model.save(temporary)
    os.replace(temporary, output)


def save_interrupted(
    model: keras.Model, output: Path, folder: str | Path | None, stop: KeyboardInterrupt
) -> str:
    """Write the best model so far unless `folder` holds it; return a line that says where it is."""
    epochs = stop.args[0] if stop.args else 0
    if not epochs:
        return "stopped before an epoch had ended; nothing was written"
    if folder is not None:
        best = Path(folder) / "best.keras"
        return (
            f"stopped after {epochs} epochs; the best model so far is {best}: "
            "the same call continues"
        )
    save_model(model, output)
    return f"stopped after {epochs} epochs; the best model so far is {output}"
