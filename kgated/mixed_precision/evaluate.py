"""Evaluation of recipes: conversion, and accuracy over a data set on the device side."""

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
from kgated.keras_internals.graph import flatten_layers
from kgated.keras_internals.subclassed_models import as_functional
from kgated.optimize import QuantizeAware


@dataclass(frozen=True)
class Trial:
    """The results of a recipe.

    Attributes:
        recipe: the recipe.
        accuracy: on the device side, 0..1; None if the converter refused the recipe.
        file_bytes: size of the file; None if the converter refused the recipe.
        refused: the converter's message, or None.
    """

    recipe: Recipe
    accuracy: float | None
    file_bytes: int | None
    refused: str | None = None


class Judge:
    """Evaluates recipes on one model and one data set.

    Args:
        model: as `to_tflite` takes it.
        data: sequences with class labels `y`, or the path of an `.npz` file.
        calibration: representative data for the ranges; None: `data`.
        options: `mode`, `lowering`, `length` and `max_length` of `to_tflite`.

    Raises:
        ValueError: no class labels; a backend other than TensorFlow.
    """

    def __init__(self, model: keras.Model, data: Any, calibration: Any, **options: Any) -> None:
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                "recipes are tried on the TensorFlow backend: set KERAS_BACKEND=tensorflow. "
                f"Received: {keras.backend.backend()!r}"
            )
        self.model = model if isinstance(model, QuantizeAware) else as_functional(model)
        self.data = as_sequences(data)
        if self.data.y is None or self.data.y.dtype.kind not in "iu":
            raise ValueError("`data` must have class labels `y`, integers, to judge accuracy by")
        self.calibration = self.data if calibration is None else calibration
        self._lengths = {k: options.pop(k, None) for k in ("length", "max_length")}
        self._options = options
        self.plain = self.trial("none")
        if self.plain.accuracy is None:
            raise ConversionError(f"the float model does not convert: {self.plain.refused}")

    def layers(self, quantize: str) -> tuple[str, ...]:
        """The layers that can be quantized one at a time.

        Args:
            quantize: such as "int8".

        Returns:
            The names of the layers with operators in the file, in their order.
        """
        return layers_of(self.model, self._recipe(quantize, ()), **self._lengths)

    def trial(
        self, quantize: str, skip: tuple[str, ...] = (), model: keras.Model | None = None
    ) -> Trial:
        """Convert a model by a recipe, and evaluate the file, which is then removed.

        Args:
            quantize: of the recipe.
            skip: layers that stay in float.
            model: the model to convert, such as one of `quantize_aware`; None: that of the judge.
        """
        recipe = self._recipe(quantize, skip)
        # A model from quantization-aware training has its own ranges and takes no calibration.
        calibration = self.calibration if model is None else None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "trial.tflite")
            options = ConversionOptions(recipe, calibration, **self._lengths, explain_cost=False)
            try:
                convert(self.model if model is None else model, path, options)
            except ConversionError as error:
                return Trial(recipe, None, None, str(error))
            result = check(path, self.data, warmup_steps=0)
            return Trial(recipe, result.accuracy, result.model_bytes)

    def lost(self, trial: Trial) -> float:
        """The accuracy loss of a recipe.

        Args:
            trial: the results of a recipe.

        Returns:
            The accuracy of the float file minus that of the trial, in percentage points; infinite
            if the converter refused the recipe.
        """
        if trial.accuracy is None or self.plain.accuracy is None:
            return float("inf")
        return 100.0 * (self.plain.accuracy - trial.accuracy)

    def _recipe(self, quantize: str, skip: tuple[str, ...]) -> Recipe:
        return Recipe(quantize=quantize, skip=skip, **self._options)


def layers_of(
    model: keras.Model, recipe: Recipe, length: int | None = None, max_length: int | None = None
) -> tuple[str, ...]:
    """The names that `skip` takes: layers with operators in the file, in their order.

    Other layers leave no operators: dropout, or a normalization folded into a convolution. Mode,
    quantization and lowering of the recipe are used; arguments and errors are those of `to_tflite`.
    """
    recipe, graph, _ = target_of(model, recipe, length, max_length)
    lowered = lower(graph, recipe)
    present = LayerTable.from_names(lowered).layers(lowered)
    # Operations between layers, such as those of a mask, have names that change from run to run.
    layers = {layer.name for layer in flatten_layers(model)}
    names = dict.fromkeys(name for name in graph.owners.values() if name in layers)
    return tuple(name for name in names if scope_name(name) in present)
