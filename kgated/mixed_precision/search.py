"""Which layers lose accuracy when they are quantized, and a recipe that leaves those in float."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kgated.deploy import Recipe
from kgated.deploy.recipe import save_recipe
from kgated.mixed_precision.evaluate import Judge, Trial


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs.

    Attributes:
        layer: its name.
        trial: the model with this layer quantized and all others in float.
        lost_points: of accuracy against the float file, in percent of the data; infinite where
            the converter refuses the file.
    """

    layer: str
    trial: Trial
    lost_points: float


@dataclass(frozen=True)
class Mixed:
    """A recipe found.

    Attributes:
        recipe: as `to_tflite` takes its fields.
        trial: what it gives.
        lost_points: of accuracy against the float file.
        plain: the float file.
        whole: every layer quantized.
        sensitivities: of each layer, the worst first.
    """

    recipe: Recipe
    trial: Trial
    lost_points: float
    plain: Trial
    whole: Trial
    sensitivities: tuple[Sensitivity, ...]

    def save(self, path: str | Path) -> None:
        """Write the recipe as JSON, for `kgated convert --recipe`; `OSError` where it can't be."""
        save_recipe(path, self.recipe)


def sensitivity(
    model: keras.Model,
    data: Any,
    quantize: str = "int8",
    *,
    calibration: Any = None,
    **options: Any,
) -> tuple[Sensitivity, ...]:
    """Quantize one layer at a time, and judge each file on the device side.

    Args:
        model: a Keras model that `to_tflite` takes.
        data: sequences with class labels `y`, or the path of an `.npz` file, to judge by.
        quantize: the quantization, as in `to_tflite`; not "none".
        calibration: sequences to take ranges from, as in `to_tflite`; None: those of `data`.
        options: `mode`, `lowering`, `length`, `max_length` as in `to_tflite`.

    Returns:
        One entry per layer that leaves operators in the file, the one that loses most first.

    Raises:
        ValueError: no labels, an unknown `quantize`, a backend other than TensorFlow's.
        ConversionError: the float model does not convert.

    Example:
        >>> for one in kgated.sensitivity(model, "valid.npz", "int8"):
        ...     print(one.layer, one.lost_points)
    """
    check_wanted(quantize)
    return _sensitivity(Judge(model, data, calibration, **options), quantize)


def mixed_recipe(
    model: keras.Model,
    data: Any,
    quantize: str = "int8",
    *,
    limit: float = 0.5,
    calibration: Any = None,
    **options: Any,
) -> Mixed:
    """A recipe that quantizes as many layers as lose no more accuracy than a limit allows.

    All layers are quantized at first. Where that loses too much, the most sensitive go back to
    float one after the other until it does not, and then each is tried quantized once more. Where
    nothing else will do, the recipe is the float one.

    Args:
        model: as in `sensitivity`.
        data: as in `sensitivity`.
        quantize: as in `sensitivity`.
        limit: points of accuracy, in percent of the data, that the recipe may lose against the
            float file, 0 or more.
        calibration: as in `sensitivity`.
        options: as in `sensitivity`.

    Returns:
        The recipe, what it gives, and what was found on the way.

    Raises:
        ValueError, ConversionError: as `sensitivity`; a `limit` below 0.

    Example:
        >>> found = kgated.mixed_recipe(model, "valid.npz", "int8", limit=0.5)
        >>> options = found.recipe.as_dict()
        >>> kgated.to_tflite(model, "mixed.tflite", calibration="train.npz", **options)
    """
    check_wanted(quantize, limit)
    return find(Judge(model, data, calibration, **options), quantize, limit)


def find(judge: Judge, quantize: str, limit: float) -> Mixed:
    """What `mixed_recipe` does, with a judge at hand."""
    ranked = _sensitivity(judge, quantize)
    whole = judge.trial(quantize)
    found = _search(judge, quantize, whole, [one.layer for one in ranked], limit)
    return Mixed(found.recipe, found, judge.lost(found), judge.plain, whole, ranked)


def check_wanted(quantize: str, limit: float = 0.0) -> None:
    """Refuse what can't be asked for before anything is converted; `ValueError`."""
    if quantize == "none":
        raise ValueError("`quantize` must not be 'none': there is nothing to lose in float")
    Recipe(quantize=quantize)
    if not limit >= 0.0:
        raise ValueError(f"`limit` must be 0 or more points of accuracy. Received: {limit!r}")


def _sensitivity(judge: Judge, quantize: str) -> tuple[Sensitivity, ...]:
    layers, found = judge.layers(quantize), []
    for layer in layers:
        trial = judge.trial(quantize, tuple(name for name in layers if name != layer))
        found.append(Sensitivity(layer, trial, judge.lost(trial)))
    return tuple(sorted(found, key=lambda one: -one.lost_points))


def _search(
    judge: Judge, quantize: str, whole: Trial, worst_first: list[str], limit: float
) -> Trial:
    found, skip = whole, list[str]()
    for layer in worst_first:
        if judge.lost(found) <= limit:
            break
        skip.append(layer)
        found = judge.trial(quantize, tuple(skip))
    if judge.lost(found) > limit or len(skip) == len(worst_first):
        return judge.plain
    for layer in skip[-2::-1]:  # the last one was needed: without it the limit was missed
        fewer = judge.trial(quantize, tuple(name for name in skip if name != layer))
        if judge.lost(fewer) <= limit:
            found = fewer
            skip.remove(layer)
    return found
