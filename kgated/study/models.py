"""Builds the parts of the models of a study: cells, inputs, outputs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.data import real_frames
from kgated.layers import CELLS
from kgated.models.sequence import fitted_normalization
from kgated.study.splits import Parts
from kgated.study.tasks.definitions import Task

PLAIN = "rnn"
EMBEDDING_UNITS = 32
# Names of cells that are not the layer's in lower case.
SHORT_NAMES = {"PeepholeLSTM": "peephole"}
LONG_NAMES = {long.lower(): short for long, short in SHORT_NAMES.items()}


def cell_layers() -> dict[str, Callable[..., keras.layers.RNN]]:
    """The layers by the names that a comparison takes: "rnn", and those of `CELLS` in lower case.

    "peephole" is the name of PeepholeLSTM.
    """
    layers: dict[str, Callable[..., keras.layers.RNN]] = {PLAIN: keras.layers.SimpleRNN}
    for name, layer in CELLS.items():
        layers[SHORT_NAMES.get(name, name.lower())] = layer
    return layers


def cell_names(cells: Sequence[str]) -> tuple[str, ...]:
    """The names of `cell_layers` for names in any case, each once.

    Raises:
        ValueError: an unknown cell.
    """
    lower = [cell.strip().lower() for cell in cells]
    names = [LONG_NAMES.get(name, name) for name in lower]
    known = cell_layers()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"`cells` must be some of {list(known)}. Received: {unknown[0]!r}")
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class ModelOptions:
    """The options of a model that do not depend on its cell or size.

    Attributes:
        task: what the model learns.
        frames: (n, F) real frames to take mean and variance from, or (n,) tokens.
        outputs: number of classes, numbers or tokens.
        dropout: after each recurrent layer.
        seed: of weights and dropout.
        info: description of the data, saved with the model.
    """

    task: Task
    frames: np.ndarray
    outputs: int
    dropout: float = 0.0
    seed: int = 0
    info: DataInfo | None = None

    @classmethod
    def of(cls, parts: Parts, dropout: float = 0.0, seed: int = 0) -> "ModelOptions":
        """The options of a model for the training data of a study."""
        train = parts.train
        return cls(parts.task, real_frames(train), parts.outputs, dropout, seed, train.info)

    def random_seeds(self, count: int) -> Iterator[int]:
        """Seeds of the layers, from `seed`."""
        return iter(np.random.default_rng(self.seed).integers(2**31, size=count).tolist())


def front_layers(options: ModelOptions, masked: bool) -> list[keras.Layer]:
    """The input, the padding mask where it matters, and the scaling or the embedding."""
    frames, outputs = options.frames, options.outputs
    if options.task.takes_tokens:
        vectors = keras.layers.Embedding(
            outputs,
            min(EMBEDDING_UNITS, outputs),
            embeddings_initializer=keras.initializers.RandomUniform(seed=options.seed),
            name="embedding",
        )
        return [keras.Input((None,), dtype="int32"), vectors]
    scale = fitted_normalization(frames)
    mask = [keras.layers.Masking(name="padding")] if masked else []
    return [keras.Input((None, frames.shape[1])), *mask, scale]


def output_layer(options: ModelOptions, seed: int) -> keras.Layer:
    """The Dense layer of the outputs."""
    return keras.layers.Dense(
        options.outputs,
        activation=options.task.activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed),
        name="outputs",
    )


def parameter_count(model: keras.Model) -> int:
    """The number of trained weights."""
    return int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
