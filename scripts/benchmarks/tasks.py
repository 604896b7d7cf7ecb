"""The tasks of the accuracy benchmark, and the evaluation of files by the device runner."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
from kgated_edge import EdgeModel
from train_language_model import corpus

from benchmarks.recordings import basic_motions, plaid
from kgated.data import DataSet, japanese_vowels, real_frames, split, zero_padded
from kgated.demos.cells.run import final_outputs
from kgated.layers import CELLS
from kgated.models import NEXT_TOKEN_LOSS, LanguageModel, sequence_classifier
from kgated.models.language import cross_entropy_bits
from kgated.training import Batches, Disturbance, clip_after_sum

Callbacks = Sequence[keras.callbacks.Callback]
VALIDATION = 0.2


@dataclass(frozen=True)
class Length:
    """The length of a training.

    Attributes:
        epochs: passes over the data; the rate falls along half a cosine over all of them.
        rate: Adam's learning rate at the start.
        settled: the first epoch, from 0, whose weights may be kept as the best.
    """

    epochs: int
    rate: float
    settled: int = 0


class Lengths(NamedTuple):
    """The trainings of a task.

    Attributes:
        first: from new weights.
        again: further training with clustered weights.
        sparse: further training with pruned weights.
        tuned: further training with fake quantization, at a low rate.
    """

    first: Length
    again: Length
    sparse: Length
    tuned: Length


class Task(Protocol):
    """A data set, its model, and its metric."""

    name: str
    unit: str
    lengths: Lengths

    def build(self, cell: str, seed: int) -> keras.Model:
        """A model with new weights."""

    def steps(self, length: Length) -> int:
        """The number of optimizer steps of a training."""

    def train(self, model: keras.Model, length: Length, seed: int, callbacks: Callbacks) -> None:
        """Train a model; it keeps its best weights by validation."""

    def calibration(self) -> Any:
        """Sequences for calibration."""

    def frames(self) -> Sequence[Any]:
        """Frames for the timing of steps."""

    def score(self, path: Any) -> float:
        """The metric of a file on the test set, by the device runner, in `unit`."""


class Classification:
    """Classification of sequences; the metric is the accuracy in percent after the last frame.

    Args:
        data: the sequences.
        units: U of the recurrent layer.
        lengths: of the trainings.
        disturbance: the augmentation of the training data.
        batch: sequences per step.
    """

    unit = "%"

    def __init__(
        self,
        data: DataSet,
        units: int,
        lengths: Lengths,
        disturbance: Disturbance,
        batch: int,
    ) -> None:
        self.name, self.data, self.units, self.batch = data.name, data, units, batch
        self.lengths, self.disturbance = lengths, disturbance

    def build(self, cell: str, seed: int) -> keras.Model:
        """As in `Task`."""
        return sequence_classifier(
            CELLS[cell],
            frames=real_frames(self.data.train),
            classes=len(self.data.labels),
            units=self.units,
            dropout=0.3,
            seed=seed,
            name=cell.lower(),
        )

    def steps(self, length: Length) -> int:
        """As in `Task`."""
        train, _ = split(self.data.train, VALIDATION)
        return length.epochs * -(-len(train) // self.batch)

    def train(self, model: keras.Model, length: Length, seed: int, callbacks: Callbacks) -> None:
        """As in `Task`."""
        train, held_out = split(self.data.train, VALIDATION, seed=seed)
        one_hot = np.eye(len(self.data.labels), dtype=np.float32)
        batches = Batches(train, one_hot[train.y], self.batch, self.disturbance, seed)
        rate = keras.optimizers.schedules.CosineDecay(length.rate, self.steps(length))
        model.compile(
            clip_after_sum(keras.optimizers.Adam(rate, global_clipnorm=1.0)),
            keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
            jit_compile=False,  # compiling would take longer than these trainings
        )
        model.fit(
            batches,
            shuffle=False,
            epochs=length.epochs,
            validation_data=(zero_padded(held_out), one_hot[held_out.y]),
            validation_batch_size=len(held_out),
            callbacks=[_best(length), *callbacks],
            verbose=0,
        )

    def calibration(self) -> Any:
        """As in `Task`."""
        return self.data.train

    def frames(self) -> Sequence[Any]:
        """As in `Task`."""
        return list(self.data.test.sequence(0))

    def score(self, path: Any) -> float:
        """As in `Task`."""
        decisions = final_outputs(path, self.data.test).argmax(axis=-1)
        return 100.0 * float((decisions == self.data.test.y).mean())


class Characters:
    """A language model of Python's manual; the metric is bits per character, lower is better.

    Args:
        units: U of the recurrent layer.
        lengths: as in `Classification`.
        judged: the number of test characters on which a file is evaluated, in one stream.
    """

    name, unit = "Characters", "bits"
    window, batch, learned = 64, 16, 200_000  # learned: number of training characters

    def __init__(self, units: int, lengths: Lengths, judged: int) -> None:
        self.units, self.lengths, self.judged = units, lengths, judged

    @cached_property
    def text(self) -> Any:
        """The three texts."""
        return corpus()

    def build(self, cell: str, seed: int) -> keras.Model:
        """As in `Task`."""
        keras.utils.set_random_seed(seed)
        return LanguageModel(self.text.vocabulary, cell, self.units, dropout=0.1)

    def steps(self, length: Length) -> int:
        """As in `Task`."""
        return length.epochs * -(-(self.learned // self.window) // self.batch)

    def train(self, model: keras.Model, length: Length, seed: int, callbacks: Callbacks) -> None:
        """As in `Task`."""
        keras.utils.set_random_seed(seed)
        rate = keras.optimizers.schedules.CosineDecay(length.rate, self.steps(length))
        model.compile(
            keras.optimizers.Adam(rate, global_clipnorm=1.0), NEXT_TOKEN_LOSS, jit_compile=False
        )
        model.fit(
            *self._windows(self.text.train[: self.learned]),
            batch_size=self.batch,
            epochs=length.epochs,
            validation_data=self._windows(self.text.valid),
            validation_batch_size=128,
            callbacks=[_best(length), *callbacks],
            verbose=0,
        )

    def calibration(self) -> Any:
        """As in `Task`; the pieces are long, because states grow over more than a window."""
        tokens = self._tokens(self.text.train)
        return tokens[: len(tokens) // 512 * 512].reshape(-1, 512)

    def frames(self) -> Sequence[Any]:
        """As in `Task`."""
        return [int(token) for token in self._tokens(self.text.test[:100])]

    def score(self, path: Any) -> float:
        """As in `Task`."""
        tokens = self._tokens(self.text.test[: self.judged])
        logits = EdgeModel(path).run(tokens[:-1])
        return float(cross_entropy_bits(logits.astype(np.float64), tokens[1:]).mean())

    def _windows(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        tokens, size = self._tokens(text), self.window
        count = (len(tokens) - 1) // size
        return (
            tokens[: count * size].reshape(count, size),
            tokens[1 : count * size + 1].reshape(count, size),
        )

    def _tokens(self, text: str) -> np.ndarray:
        index = {symbol: n for n, symbol in enumerate(self.text.vocabulary)}
        return np.array([index[symbol] for symbol in text], np.int32)


def _best(length: Length) -> keras.callbacks.Callback:
    return keras.callbacks.EarlyStopping(
        "val_loss",
        patience=length.epochs,
        restore_best_weights=True,
        start_from_epoch=length.settled,
    )


def tasks(quick: bool) -> dict[str, Task]:
    """All tasks by name; `quick` ones train briefly, to test the run."""

    def lengths(epochs: int, more: int, rate: float, sparse: int | None = None) -> Lengths:
        epochs, more, sparse = (3, 2, 2) if quick else (epochs, more, sparse or more)
        return Lengths(
            Length(epochs, rate),
            Length(more, rate / 2, settled=more // 2),
            Length(sparse, rate / 2, settled=sparse // 2),
            Length(more, rate / 10, settled=more // 2),
        )

    gentle = Disturbance(0.0, 0.05, 0.0)  # stretching or mixing a current would change its class
    all_tasks: list[Task] = [
        Classification(japanese_vowels(), 64, lengths(60, 40, 3e-3, sparse=80), Disturbance(), 32),
        Classification(plaid(), 64, lengths(60, 30, 5e-3), gentle, 32),
        Classification(basic_motions(), 64, lengths(150, 80, 3e-3), Disturbance(), 8),
        Characters(128, lengths(6, 4, 4e-3), judged=1000 if quick else 10_000),
    ]
    return {task.name: task for task in all_tasks}
