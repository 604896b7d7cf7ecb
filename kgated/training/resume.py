"""Log, best model and backup of a training, and its resumption after a kill.

Keras's own callbacks do not restore everything. `keras.callbacks.BackupAndRestore` restores the
weights and the optimizer but not the random state of dropout. After it, `EarlyStopping` and
`ModelCheckpoint` have lost the earlier epochs and may take a worse model for the best. Here a
backup holds all variables, and the best epoch is computed from the log on disk.
"""

import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.atomic_write import replace_file
from kgated.training.callbacks import KeepBest, Log, StopOnDivergence

Logs = dict[str, Any] | None
BACKUP, SUFFIX = "backup-", ".npz"


@dataclass(frozen=True)
class Run:
    """A training that writes to a folder.

    Attributes:
        initial_epoch: the number of completed epochs, for `fit(initial_epoch=...)`.
        log: each epoch's values, including those before a kill.
        callbacks: for `fit(callbacks=...)`.
    """

    initial_epoch: int
    log: Log
    callbacks: list[keras.callbacks.Callback]


def start_or_resume(
    model: keras.Model,
    folder: str | Path,
    *,
    monitor: str = "val_loss",
    patience: int | None = None,
    keep: keras.Model | None = None,
    tensorboard: bool = False,
) -> Run:
    """Prepare a training that the same call resumes after its last epoch, also after a crash.

    `folder` contains `log.csv` with a row per epoch, `best.keras`, the best model so far,
    and, until the training ends, a backup: one file with weights, optimizer, random state and
    epoch. The resumed training equals the uninterrupted one if the order of the data is
    fixed or drawn from the epoch's number (`Recordings`, `NextEpoch`).

    Args:
        model: compiled and built, with the same options as before the kill.
        folder: created if missing. Use one folder per training, because a backup in it is resumed.
        monitor: the value to minimize, a column of the log.
        patience: number of epochs without a new best before training stops. None: never.
        keep: the model to save as the best, if it is not `model`, as with `carry_state`.
        tensorboard: also write logs for TensorBoard to `folder/tensorboard`.

    Raises:
        ValueError: `model` is not compiled, `patience` is below 1, or the backup is of another
            model.
        ImportError: `tensorboard` is set and the package tensorboard is missing.
        OSError: the folder can't be created.

    Example:
        >>> run = start_or_resume(model, "runs/first", patience=5)
        >>> model.fit(x, y, validation_data=(x_valid, y_valid), epochs=100, shuffle=False,
        ...           initial_epoch=run.initial_epoch, callbacks=run.callbacks)
    """
    if not getattr(model, "optimizer", None):
        raise ValueError("`model` must be compiled before its training is prepared")
    if patience is not None and patience < 1:
        raise ValueError(f"`patience` must be None or at least 1. Received: {patience!r}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    epoch = _restore(model, folder)
    log = Log(folder / "log.csv", epoch)
    callbacks = [
        StopOnDivergence(),
        log,
        KeepBest(folder / "best.keras", log, monitor, patience, keep or model),
    ]
    if tensorboard:
        callbacks.append(_tensorboard(folder / "tensorboard"))
    return Run(epoch, log, [*callbacks, Backup(folder)])


def _tensorboard(folder: Path) -> keras.callbacks.Callback:
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            "`tensorboard=True` needs a package that is missing: pip install tensorboard"
        )
    return keras.callbacks.TensorBoard(str(folder))


class Backup(keras.callbacks.Callback):
    """Saves all variables after each epoch, including those of the optimizer and of dropout.

    The file's name contains the epoch, and the file is renamed after it is complete. A kill at any
    moment therefore leaves the last complete backup with the right epoch.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write this epoch's file, then delete the previous one."""
        before = _backups(self.folder)
        path = self.folder / f"{BACKUP}{epoch + 1:06d}{SUFFIX}"
        content = io.BytesIO()
        np.savez(content, *map(_value, _state(self.model)))
        replace_file(path, content.getvalue())
        for old in before:
            if old != path:
                old.unlink()

    def on_train_end(self, logs: Logs = None) -> None:
        """Remove the backup, so that the next training in this folder starts from epoch 0."""
        for path in _backups(self.folder):
            path.unlink()


def _backups(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{BACKUP}*{SUFFIX}"))


def _state(model: keras.Model) -> list[keras.Variable]:
    """Every variable that the next step depends on."""
    return [*model.variables, *model.optimizer.variables]


def _value(variable: keras.Variable) -> np.ndarray:
    # NumPy has no bfloat16; float32 holds every value of it.
    dtype = "float32" if variable.dtype == "bfloat16" else variable.dtype
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, dtype))


def _restore(model: keras.Model, folder: Path) -> int:
    """Load the last backup if there is one; return the number of epochs done."""
    backups = _backups(folder)
    if not backups:
        return 0
    model.optimizer.build(model.trainable_variables)
    variables = _state(model)
    with np.load(backups[-1], allow_pickle=False) as file:
        values = [file[name] for name in file.files]
    if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
        raise ValueError(
            f"{backups[-1]}: this backup is of another model: use a new folder, or build the "
            "model with the options of that training"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return int(backups[-1].name.removeprefix(BACKUP).removesuffix(SUFFIX))
