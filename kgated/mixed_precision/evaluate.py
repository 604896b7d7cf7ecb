"""Recipes tried: converted, and judged over a data set by the code that the device runs."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from kgated_edge import check
from kgated_edge.evaluation.arrays import as_sequences

from kgated.deploy import Recipe
from kgated.deploy.convert import convert
from kgated.deploy.lowering.converter import lower
from kgated.deploy.metadata import ConversionOptions
from kgated.deploy.tflite.layer_table import LayerTable, scope_name
from kgated.deploy.verification.target_choice import target_of
from kgated.errors import ConversionError
from kgated.keras_graph import flatten_layers


@dataclass(frozen=True)
class Trial:
    """What a recipe gives.

    Attributes:
        recipe: the recipe.
        accuracy: share of right decisions on the device side, 0..1; None where it was refused.
        file_bytes: size of the file, None where it was refused.
        refused: why the converter refused it, or None.
    """

    recipe: Recipe
    accuracy: float | None
    file_bytes: int | None
    refused: str | None = None


class Judge:
    """Tries recipes on one model and one data set.

    Args:
        model: as `to_tflite` takes it.
        data: sequences with class labels `y` to judge by, or the path of an `.npz` file.
        calibration: sequences to take ranges from; None: those of `data`.
        options: `mode`, `lowering`, `length` and `max_length` of `to_tflite`.

    Raises:
        ValueError: no labels of classes; a backend other than TensorFlow's.
    """

    def __init__(self, model: keras.Model, data: Any, calibration: Any, **options: Any) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "recipes are tried on the TensorFlow backend: set KERAS_BACKEND=tensorflow. "
                f"Received: {keras.backend.backend()!r}"
            )
        self.model, self.data = model, as_sequences(data)
        if self.data.y is None or self.data.y.dtype.kind not in "iu":
            raise ValueError("`data` must have class labels `y`, integers, to judge accuracy by")
        self.calibration = self.data if calibration is None else calibration
        self._lengths = {k: options.pop(k, None) for k in ("length", "max_length")}
        self._options = options
        self.plain = self.trial("none")
        if self.plain.accuracy is None:
            raise ConversionError(f"the float model does not convert: {self.plain.refused}")

    def layers(self, quantize: str) -> tuple[str, ...]:
        """The layers that can be quantized alone."""
        return layers_of(self.model, self._recipe(quantize, ()), **self._lengths)

    def trial(
        self, quantize: str, skip: tuple[str, ...] = (), model: keras.Model | None = None
    ) -> Trial:
        """Convert and judge; the file is not kept."""
        recipe = self._recipe(quantize, skip)
        # A model with ranges of its own, learned in training, takes no others.
        given = self.calibration if model is None else None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trial.tflite")
            options = ConversionOptions(recipe, given, **self._lengths, explain_cost=False)
            try:
                convert(self.model if model is None else model, path, options)
            except ConversionError as error:
                return Trial(recipe, None, None, str(error))
            found = check(path, self.data, warmup_steps=0)
            return Trial(recipe, found.accuracy, found.model_bytes)

    def lost(self, trial: Trial) -> float:
        """Points of accuracy that a recipe loses against the float file; infinite if refused."""
        if trial.accuracy is None or self.plain.accuracy is None:
            return float("inf")
        return 100.0 * (self.plain.accuracy - trial.accuracy)

    def _recipe(self, quantize: str, skip: tuple[str, ...]) -> Recipe:
        return Recipe(quantize=quantize, skip=skip, **self._options)


def layers_of(
    model: keras.Model, recipe: Recipe, length: int | None = None, max_length: int | None = None
) -> tuple[str, ...]:
    """The names that `skip` takes: layers that leave operators in the file, in their order.

    Others vanish on the way: dropout, or a normalization folded into a convolution. Of the recipe,
    mode, quantization and lowering count; the arguments and the errors are those of `to_tflite`.
    """
    recipe, graph, _ = target_of(model, recipe, length, max_length)
    lowered = lower(graph, recipe)
    present = LayerTable.from_names(lowered).layers(lowered)
    # Operations between layers, such as those of a mask, have names that change from run to run.
    layers = {layer.name for layer in flatten_layers(model)}
    names = dict.fromkeys(name for name in graph.owners.values() if name in layers)
    return tuple(name for name in names if scope_name(name) in present)
