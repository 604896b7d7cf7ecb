"""The models of a comparison: a cell, its width, the number of layers, one direction or both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset_info import DataInfo

from kgated.layers import CELLS
from kgated.models import sequence_classifier

PLAIN = "rnn"
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


def build(
    candidate: Candidate,
    *,
    frames: np.ndarray,
    classes: int,
    dropout: float = 0.0,
    seed: int = 0,
    info: DataInfo | None = None,
) -> keras.Sequential:
    """The untrained classifier of a candidate; arguments as of `sequence_classifier`."""
    layer = cell_layers()[candidate.cell]

    def in_both_directions(units: int, *, name: str, **options: Any) -> keras.Layer:
        return keras.layers.Bidirectional(layer(units, **options), name=name)

    return sequence_classifier(
        in_both_directions if candidate.bidirectional else layer,
        frames=frames,
        classes=classes,
        units=candidate.units,
        layers=candidate.layers,
        dropout=dropout,
        seed=seed,
        name=candidate.name,
        info=info,
    )


def parameter_count(model: keras.Model) -> int:
    """The number of trained weights."""
    return int(sum(np.prod(weight.shape) for weight in model.trainable_weights))
