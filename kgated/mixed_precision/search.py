"""Search for the layers that lose accuracy when quantized, and for a mixed-precision recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kgated.deploy import Recipe
from kgated.deploy.recipe import save_recipe
from kgated.mixed_precision.evaluate import Judge, Trial


@dataclass(frozen=True)
class Sensitivity:
    """The accuracy loss of one layer.

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
    """A mixed-precision recipe and its results.

    Attributes:
        recipe: as `to_tflite` takes its fields.
        trial: its results.
        lost_points: accuracy loss against the float file, in percentage points.
        plain: results of the float file.
        whole: results with every layer quantized.
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
    """Quantize one layer at a time and evaluate each file on the device side.

    Args:
        model: a Keras model that `to_tflite` takes.
        data: sequences with class labels `y` for the accuracy, or the path of an `.npz` file.
        quantize: the quantization, as in `to_tflite`; not "none".
        calibration: sequences to take ranges from, as in `to_tflite`; None: those of `data`.
        options: `mode`, `lowering`, `length`, `max_length` as in `to_tflite`.

    Returns:
        One entry per layer with operators in the file, sorted by loss, the largest first.

    Raises:
        ValueError: no labels, an unknown `quantize`, a backend other than TensorFlow's.
        ConversionError: the float model does not convert.

    Example:
        >>> for entry in kgated.sensitivity(model, "valid.npz", "int8"):
        ...     print(entry.layer, entry.lost_points)
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
    """Find a recipe that quantizes as many layers as a limit on the accuracy loss allows.

    The search starts with all layers quantized. While the loss is above the limit, it returns the
    most sensitive quantized layer to float. Then it tries each of these layers quantized again. If
    no mixed recipe meets the limit, the result is the float recipe.

    Args:
        model: as in `sensitivity`.
        data: as in `sensitivity`.
        quantize: as in `sensitivity`.
        limit: maximum accuracy loss against the float file in percentage points, 0 or more.
        calibration: as in `sensitivity`.
        options: as in `sensitivity`.

    Returns:
        The recipe, its results, and the sensitivity of each layer.

    Raises:
        ValueError, ConversionError: as `sensitivity`; a `limit` below 0.

    Example:
        >>> mixed = kgated.mixed_recipe(model, "valid.npz", "int8", limit=0.5)
        >>> options = mixed.recipe.as_dict()
        >>> kgated.to_tflite(model, "mixed.tflite", calibration="train.npz", **options)
    """
    check_wanted(quantize, limit)
    return find(Judge(model, data, calibration, **options), quantize, limit)


def find(judge: Judge, quantize: str, limit: float) -> Mixed:
    """Search a mixed recipe with a given `Judge`; see `mixed_recipe`.

    Args:
        judge: the model and the data.
        quantize: as of `mixed_recipe`.
        limit: as of `mixed_recipe`.
    """
    ranked = _sensitivity(judge, quantize)
    all_quantized = judge.trial(quantize)
    best = _search(judge, quantize, all_quantized, [entry.layer for entry in ranked], limit)
    return Mixed(best.recipe, best, judge.lost(best), judge.plain, all_quantized, ranked)


def check_wanted(quantize: str, limit: float = 0.0) -> None:
    """Check the options before the first conversion.

    Args:
        quantize: of the recipe; "none" has nothing to search.
        limit: percentage points of accuracy, 0 or more.

    Raises:
        ValueError: another quantization or limit.
    """
    if quantize == "none":
        raise ValueError("`quantize` must not be 'none': there is nothing to lose in float")
    Recipe(quantize=quantize)
    if not limit >= 0.0:
        raise ValueError(f"`limit` must be 0 or more points of accuracy. Received: {limit!r}")


def _sensitivity(judge: Judge, quantize: str) -> tuple[Sensitivity, ...]:
    layers, sensitivities = judge.layers(quantize), []
    for layer in layers:
        trial = judge.trial(quantize, tuple(name for name in layers if name != layer))
        sensitivities.append(Sensitivity(layer, trial, judge.lost(trial)))
    return tuple(sorted(sensitivities, key=lambda entry: -entry.lost_points))


def _search(
    judge: Judge, quantize: str, all_quantized: Trial, worst_first: list[str], limit: float
) -> Trial:
    best, skip = all_quantized, list[str]()
    for layer in worst_first:
        if judge.lost(best) <= limit:
            break
        skip.append(layer)
        best = judge.trial(quantize, tuple(skip))
    if judge.lost(best) > limit or len(skip) == len(worst_first):
        return judge.plain
    for layer in skip[-2::-1]:  # the last one was needed: without it the limit was missed
        fewer = judge.trial(quantize, tuple(name for name in skip if name != layer))
        if judge.lost(fewer) <= limit:
            best = fewer
            skip.remove(layer)
    return best
