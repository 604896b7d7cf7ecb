"""The models of a comparison: a cell, its width, the number of layers, one direction or both."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras

from kgated.models.sequence import accepted, described, recurrent_stack
from kgated.study.models import (
    ModelOptions,
    cell_layers,
    cell_names,
    front_layers,
    output_layer,
)


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
    names = cell_names(cells)
    for name, values in (("cells", names), ("units", units), ("layers", layers)):
        if not values:
            raise ValueError(f"`{name}` must name at least one value")
    for name, numbers in (("units", units), ("layers", layers)):
        if min(numbers) < 1:
            raise ValueError(f"`{name}` must be 1 or above. Received: {min(numbers)}")
    directions = (False, True) if bidirectional else (False,)
    rows = product(names, units, layers, directions)
    return tuple(dict.fromkeys(Candidate(*row) for row in rows))


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
        each=task.per_frame,
    )
    # Causal results of each frame do not depend on padding, which the loss leaves out.
    front = front_layers(options, masked=candidate.bidirectional or not task.per_frame)
    head = output_layer(options, next(seeds))
    return described([*front, *recurrent, head], candidate.name, options.info)
