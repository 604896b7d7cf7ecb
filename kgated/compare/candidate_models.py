"""The models of a comparison: a cell, its width, the number of layers, one direction or both."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.data import real_frames
from kgated.layers import CELLS
from kgated.models.sequence import accepted, described, recurrent_stack
from kgated.study.splits import Parts
from kgated.study.tasks.definitions import Task

PLAIN = "rnn"
EMBEDDING_UNITS = 32
# Names of cells that are not the layer's in lower case.
SHORT_NAMES = {"PeepholeLSTM": "peephole"}
LONG_NAMES = {long.lower(): short for long, short in SHORT_NAMES.items()}


@dataclass(frozen=True)
class Candidate:
    """One model to compare.

    Attributes:
        cell: a name of `cell_layers`.
        units: the width of each recurrent layer.
        layers: how many recurrent layers.
        bidirectional: whether each layer reads the sequence in both directions; such a model can't
            stream, and its file takes whole sequences.
    """

    cell: str
    units: int
    layers: int = 1
    bidirectional: bool = False

    @property
    def name(self) -> str:
        """A short name, also of files: "lstm-16", "lstm-16x2", "lstm-16-bi"."""
        depth = f"x{self.layers}" if self.layers > 1 else ""
        return f"{self.cell}-{self.units}{depth}{'-bi' if self.bidirectional else ''}"


def cell_layers() -> dict[str, Callable[..., keras.layers.RNN]]:
    """The layers by the names that a comparison takes: "rnn", and those of `CELLS` in lower case.

    "peephole" is the name of PeepholeLSTM.
    """
    layers: dict[str, Callable[..., keras.layers.RNN]] = {PLAIN: keras.layers.SimpleRNN}
    for name, layer in CELLS.items():
        layers[SHORT_NAMES.get(name, name.lower())] = layer
    return layers


def candidates(
    cells: Sequence[str],
    units: Sequence[int],
    layers: Sequence[int] = (1,),
    bidirectional: bool = False,
) -> tuple[Candidate, ...]:
    """Every combination, each name once.

    Args:
        cells: names, see `cell_layers`.
        units: widths, above 0.
        layers: numbers of layers, above 0.
        bidirectional: add each model in both directions too.

    Raises:
        ValueError: an unknown cell, a number below 1, or nothing to compare.
    """
    known = cell_layers()
    names = [LONG_NAMES.get(cell.strip().lower(), cell.strip().lower()) for cell in cells]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"`cells` must be some of {list(known)}. Received: {unknown[0]!r}")
    for name, values in (("cells", names), ("units", units), ("layers", layers)):
        if not values:
            raise ValueError(f"`{name}` must name at least one value")
    for name, numbers in (("units", units), ("layers", layers)):
        if min(numbers) < 1:
            raise ValueError(f"`{name}` must be 1 or above. Received: {min(numbers)}")
    directions = (False, True) if bidirectional else (False,)
    rows = product(names, units, layers, directions)
    return tuple(dict.fromkeys(Candidate(*row) for row in rows))


@dataclass(frozen=True)
class ModelOptions:
    """What a model is built for, beside its shape.

    Attributes:
        task: what it learns.
        frames: (n, F) real frames to take mean and variance from, or (n,) tokens.
        outputs: classes, numbers or tokens.
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


def build(candidate: Candidate, options: ModelOptions) -> keras.Sequential:
    """The untrained model of a candidate."""
    task = options.task
    layer = cell_layers()[candidate.cell]

    def in_both_directions(units: int, *, name: str, **options: Any) -> keras.Layer:
        return keras.layers.Bidirectional(layer(units, **accepted(layer, options)), name=name)

    seeds = options.random_seeds(3 * candidate.layers + 1)
    recurrent = recurrent_stack(
        in_both_directions if candidate.bidirectional else layer,
        candidate.units,
        candidate.layers,
        options.dropout,
        seeds,
        each=task.each,
    )
    # Causal results of each frame do not depend on padding, which the loss leaves out.
    front = front_layers(options, masked=candidate.bidirectional or not task.each)
    head = output_layer(options, next(seeds))
    return described([*front, *recurrent, head], candidate.name, options.info)


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
    scale = keras.layers.Normalization(name="scale")
    scale.adapt(frames)
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
