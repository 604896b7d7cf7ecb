"""Callbacks of a training: stop on divergence, write the log, keep the best model."""

import csv
import io
import math
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kgated.atomic_write import replace_file

Row = dict[str, float]
Logs = dict[str, Any] | None


class DivergenceError(ValueError):
    """The loss became NaN or infinite; that epoch is not saved."""


class StopOnDivergence(keras.callbacks.Callback):
    """Raises `DivergenceError` with the epoch as soon as a loss is NaN or infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check the loss of the epoch so far."""
        self._check("loss", f"epoch {self.epoch + 1}, batch {batch + 1}", logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the validation loss."""
        self._check("val_loss", f"epoch {epoch + 1}", logs)

    def _check(self, name: str, where: str, logs: Logs) -> None:
        value = float((logs or {}).get(name, 0.0))
        if not math.isfinite(value):
            raise DivergenceError(
                f"the training diverged: {name} is {value} in {where}. Lower the learning rate, "
                "clip the gradient (`global_clipnorm=1.0` of the optimizer), and look for NaN or "
                "huge values in the data"
            )


class Log(keras.callbacks.Callback):
    """Writes a CSV file with a row per epoch, which is intact also after a crash.

    Columns: epoch (from 0), seconds (of training so far, including those before a kill), and the
    values that Keras logs, in full precision.

    Args:
        path: the file. Rows of `initial_epoch` and later are dropped: they will be written again.
        initial_epoch: the epochs already done.
    """

    def __init__(self, path: Path, initial_epoch: int) -> None:
        super().__init__()
        self.path = path
        self.rows: list[Row] = []
        if initial_epoch and path.is_file():
            with path.open(newline="") as file:
                rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
            self.rows = [row for row in rows if row["epoch"] < initial_epoch]
        self.begin = self._now()

    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._now() - self.begin

    def on_train_begin(self, logs: Logs = None) -> None:
        """Continue the clock from the last row."""
        self.begin = self._now() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the epoch's row."""
        measured = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch, "seconds": self.seconds(), **measured})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        replace_file(self.path, text.getvalue().encode())

    @staticmethod
    def _now() -> float:
        return time.perf_counter()


class KeepBest(keras.callbacks.Callback):
    """Saves the model whenever it improves, and stops after `patience` epochs without improvement.

    Args:
        path: the `.keras` file, replaced atomically.
        log: the values to compare.
        monitor: the column to minimize.
        patience: epochs without a new best before stopping; None: never.
        keep: the model to save.
    """

    def __init__(
        self, path: Path, log: Log, monitor: str, patience: int | None, keep: keras.Model
    ) -> None:
        super().__init__()
        self.path, self.log, self.monitor = path, log, monitor
        self.patience, self.keep = patience, keep

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest value, from 0; the first of equal ones."""
        return int(np.argmin([row[self.monitor] for row in self.log.rows]))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save the model if it is the best; stop after `patience` epochs without improvement."""
        if self.monitor not in self.log.rows[-1]:
            raise ValueError(
                f"`monitor` must be one of {sorted(self.log.rows[-1])}. Received: "
                f"{self.monitor!r}; `val_` columns need `validation_data`"
            )
        if self.best_epoch == epoch:
            temporary = self.path.with_name(f".{self.path.name}")
            self.keep.save(temporary)
            os.replace(temporary, self.path)
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            self.model.stop_training = True
