"""The search space: designs of models with their training, and how a trial draws one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import cycle, product
from typing import Any

from kgated.deploy import Recipe
from kgated.study.fitting import scaled_augmentation
from kgated.study.hyperparameters import (
    AUGMENTATIONS,
    DROPOUTS,
    FIRST_AUGMENTATIONS,
    LEARNING_RATES,
)
from kgated.study.models import cell_names
from kgated.training import Plan

FIRST_TRAINING = {"learning_rate": 5e-3, "dropout": 0.1}


@dataclass(frozen=True)
class Design:
    """One model, and the recipe of its file.

    Attributes:
        cell: a name of `cell_layers`.
        units: width of each recurrent layer.
        layers: number of recurrent layers.
        stride: k; the mean of each k frames is a step.
        rank: the divisor of the rank of the kernels; 1: full rank.
        sparsity: fraction of the weights that is pruned to zero.
        quantize: the recipe's.
    """

    cell: str
    units: int
    layers: int = 1
    stride: int = 1
    rank: int = 1
    sparsity: float = 0.0
    quantize: str = "dynamic"

    @property
    def model_name(self) -> str:
        """A short name without the recipe, such as "gru-16x2-stride2-rank4-sparse50"."""
        parts = [f"{self.cell}-{self.units}{f'x{self.layers}' if self.layers > 1 else ''}"]
        parts += [f"stride{self.stride}"] if self.stride > 1 else []
        parts += [f"rank{self.rank}"] if self.rank > 1 else []
        parts += [f"sparse{100 * self.sparsity:g}"] if self.sparsity else []
        return "-".join(parts)

    @property
    def name(self) -> str:
        """The model's name with the recipe, such as "gru-16-dynamic"."""
        return f"{self.model_name}-{self.quantize}"


@dataclass(frozen=True)
class Training:
    """How a design is trained.

    Attributes:
        learning_rate: Adam's at the start.
        dropout: after each recurrent layer.
        augmentation: its strength, 1: as in `kgated train`; small models need less.
    """

    learning_rate: float
    dropout: float
    augmentation: float

    def plan(self, epochs: int, patience: int, seed: int) -> Plan:
        """The options of `fit`."""
        return Plan(
            epochs,
            patience,
            learning_rate=self.learning_rate,
            disturbance=scaled_augmentation(self.augmentation),
            seed=seed,
        )


@dataclass(frozen=True)
class SearchSpace:
    """The values that a design may have; a tuple for each of its fields.

    Raises:
        ValueError: an unknown cell or recipe, a number out of its range, a field without values.
    """

    cells: tuple[str, ...] = ("lstm", "peephole", "gru", "mingru", "minlstm")
    units: tuple[int, ...] = (4, 6, 8, 12, 16, 24, 32, 48, 64)
    layers: tuple[int, ...] = (1, 2)
    strides: tuple[int, ...] = (1, 2, 4)
    ranks: tuple[int, ...] = (1, 2, 4)
    sparsities: tuple[float, ...] = (0.0,)
    quantizations: tuple[str, ...] = ("none", "dynamic", "int8", "int16x8", "dynamic4")

    def __post_init__(self) -> None:
        for field in fields(self):
            values = getattr(self, field.name)
            if not values:
                raise ValueError(f"`{field.name}` must name at least one value")
            object.__setattr__(self, field.name, tuple(dict.fromkeys(values)))
        object.__setattr__(self, "cells", cell_names(self.cells))
        for name in ("units", "layers", "strides", "ranks"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))
            if getattr(self, name)[0] < 1:
                raise ValueError(f"`{name}` must be 1 or above. Received: {getattr(self, name)[0]}")
        for sparsity in self.sparsities:
            if not 0.0 <= sparsity < 1.0:
                raise ValueError(f"`sparsities` must be in 0..1, 1 left out. Received: {sparsity}")
        for quantize in self.quantizations:
            Recipe(quantize=quantize)

    def draw(self, trial: Any) -> tuple[Design, Training]:
        """The design and its training that a trial of Optuna chooses."""
        design = Design(
            cell=trial.suggest_categorical("cell", self.cells),
            units=_in_order(trial, "units", self.units),
            layers=_in_order(trial, "layers", self.layers),
            stride=_in_order(trial, "stride", self.strides),
            rank=_in_order(trial, "rank", self.ranks),
            sparsity=trial.suggest_categorical("sparsity", self.sparsities),
            quantize=trial.suggest_categorical("quantize", self.quantizations),
        )
        training = Training(
            trial.suggest_float("learning_rate", *LEARNING_RATES, log=True),
            trial.suggest_float("dropout", *DROPOUTS),
            trial.suggest_float("augmentation", *AUGMENTATIONS),
        )
        return design, training

    def first_trials(self) -> list[dict[str, Any]]:
        """Parameters of the first trials: a plain model of middle width of each cell.

        The augmentation is weak and strong in turns, since its effect differs most among data.
        """
        quantize = "dynamic" if "dynamic" in self.quantizations else self.quantizations[0]
        plain: dict[str, Any] = {"layers_index": 0, "stride_index": 0, "rank_index": 0}
        plain |= FIRST_TRAINING | {"sparsity": self.sparsities[0], "quantize": quantize}
        middle = len(self.units) // 2
        strengths = cycle(reversed(FIRST_AUGMENTATIONS))
        return [
            {"cell": cell, "units_index": middle, "augmentation": strength, **plain}
            for cell, strength in zip(self.cells, strengths, strict=False)
        ]

    def smallest(self) -> list[Design]:
        """The narrowest model of each cell in each recipe."""
        units, layers, stride = self.units[0], self.layers[0], self.strides[0]
        sparsity = max(self.sparsities)
        return [
            Design(cell, units, layers, stride, self.ranks[0], sparsity, quantize)
            for cell, quantize in product(self.cells, self.quantizations)
        ]


def _in_order(trial: Any, name: str, values: Sequence[int]) -> int:
    """One of the ascending values, drawn by its index, so that the sampler knows the order."""
    return values[trial.suggest_int(f"{name}_index", 0, len(values) - 1)]
