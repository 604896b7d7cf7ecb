"""The progress of a training on the terminal."""

from typing import Any, Self

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Logs = dict[str, Any] | None


class ProgressBar(keras.callbacks.Callback):
    """A progress line on the terminal during a `with` block: epoch, validation loss, time.

    Args:
        title: what is being trained.
        epochs: the maximum number of epochs.
        console: where to show it; None: the terminal.
        done: completed epochs of a resumed training.
    """

    def __init__(
        self, title: str, epochs: int, console: Console | None = None, done: int = 0
    ) -> None:
        super().__init__()
        self.bar = Progress(
            TextColumn("{task.description:<13}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self.task = self.bar.add_task(title, total=epochs, completed=done, news="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Advance the bar by an epoch."""
        news = "val loss {val_loss:.3f} accuracy {val_accuracy:.3f}".format(**(logs or {}))
        self.bar.update(self.task, advance=1, news=news)
