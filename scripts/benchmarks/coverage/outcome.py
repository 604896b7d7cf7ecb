"""One cell of the table: a model converted by one recipe, and its file compared with Keras."""

import tempfile
import traceback
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import EdgeModel, SequenceModel, open_model

import kgated
from benchmarks.coverage import activations, layers, operations
from benchmarks.coverage.rows import FRAMES, build, data_for
from benchmarks.micro import steps_apart
from kgated.errors import ConversionError

ROWS = {row.name: row for row in (*layers.ROWS, *operations.ROWS, *activations.ROWS)}
MODES = ("stream", "sequence")
# Recipe to the maximum error, relative to max(1, largest output); the RMSE may be a fifth of it.
LIMITS = {"none": 1e-4, "dynamic": 0.1, "int8": 0.3, "int16x8": 0.1, "mcu int8": 0.3}
COMPARED = 2  # sequences
MAX_STEPS = 4  # of TensorFlow Lite Micro from LiteRT, in integers of an output
WAYS_OUT = (
    *("convert with", "convert ", "build ", "use ", "take ", "compute ", "keep ", "leave "),
    *("train ", "cut ", "give ", "write ", "make ", "calibrate ", "Replace "),
)


def outcome(name: str, mode: str, recipe: str) -> dict[str, Any]:
    """Convert a row's model and compare the file with Keras.

    Returns:
        `outcome`: "right", "refused", "differs" (TensorFlow Lite Micro from LiteRT) or the name of
        another outcome; `reason`: of a refusal; `error`: the largest, relative to
        max(1, largest output); `rmse_of_spread`.
    """
    model = build(ROWS[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _converted(model, mode, recipe)
    except Exception as error:
        return _refused(model, error)


def _converted(model: keras.Model, mode: str, recipe: str) -> dict[str, Any]:
    data = data_for(model)
    target, _, quantize = recipe.rpartition(" ")
    length = {"length": data.shape[1]} if mode == "sequence" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.tflite")
        kgated.to_tflite(
            model,
            path,
            mode=mode,
            quantize=quantize,
            target=target or "cpu",
            calibration=_ids(model, data),
            **length,
        )
        run = _streamed if mode == "stream" else _sequences
        pairs = list(run(path, model, data[:COMPARED]))
        steps = _steps_apart(path, _ids(model, data)) if target == "mcu" else 0
    result = judged(pairs, LIMITS[recipe], _largest(model, data))
    return result if steps <= MAX_STEPS else {**result, "outcome": "differs", "steps": steps}


def _steps_apart(path: Path, data: np.ndarray) -> int:
    """Of TensorFlow Lite Micro from LiteRT, in integers of an output; 0 where it does not exist."""
    if not find_spec("tflite_micro"):
        return 0
    blocks = np.reshape(data, (-1, *open_model(path).manifest.blocks[0].shape))
    return steps_apart(path, blocks[: COMPARED * FRAMES])


def _largest(model: keras.Model, data: np.ndarray) -> float:
    return max(float(np.abs(_keras(model, x)).max()) for x in data)


def judged(
    pairs: list[tuple[np.ndarray, np.ndarray]], limit: float, scale: float
) -> dict[str, Any]:
    """The outcome from the results of a file and those of Keras.

    Args:
        pairs: (result, expected).
        limit: the maximum error, relative to max(1, scale).
        scale: the largest output.
    """
    parts = zip(*pairs, strict=True)
    results, expected = (np.concatenate([np.ravel(x) for x in part]) for part in parts)
    error, scale = results - expected, max(1.0, scale)
    rmse = float(np.sqrt(np.mean(error**2)))
    largest = float(np.abs(error).max()) / scale
    right = largest <= limit and rmse / scale <= limit / (1 if limit < 1e-3 else 5)
    return {
        "outcome": "right" if right else "wrong numbers",
        "error": largest,
        "rmse_of_spread": rmse / max(float(expected.std()), 1e-9),
    }


def _sequences(path: Path, model: keras.Model, data: np.ndarray) -> Iterator[tuple[Any, Any]]:
    file = SequenceModel(path)
    for x in data:
        yield _pair(file.run(_ids(model, x)), _keras(model, x))


def _streamed(path: Path, model: keras.Model, data: np.ndarray) -> Iterator[tuple[Any, Any]]:
    """Each step's result, and Keras's last result for the frames so far."""
    file = EdgeModel(path)
    size, is_free = file.manifest.frames_per_step, model.inputs[0].shape[1] is None
    for x in data:
        file.reset()
        reference = None if is_free else _keras(model, x)
        fed = _ids(model, x)
        for end in range(size, len(x) + 1, size):
            result = file.step(fed[end - size : end] if size > 1 else fed[end - 1])
            if reference is None:
                expected = _keras(model, x[:end])
                yield _pair(result, expected[-1] if expected.ndim > np.ndim(result) else expected)
            elif reference.ndim > np.ndim(result):
                yield _pair(result, reference[end // size - 1])
            elif end == len(x):
                yield _pair(result, reference)


def _ids(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The input of the file: ids if kgated removes the lookup layer at the start of the model."""
    lookups = (part for part in model.layers if isinstance(part, keras.layers.IntegerLookup))
    layer = next(lookups, None)
    return x if layer is None else np.asarray(layer(x), np.int32)


def _pair(result: Any, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    result = np.asarray(result)
    if result.shape != expected.shape:
        raise AssertionError(f"shape {result.shape} in place of {expected.shape}")
    if np.isnan(expected).any():
        raise AssertionError("Keras's own result is NaN; choose other data")
    return np.where(np.isnan(result), np.inf, result), expected


def _keras(model: keras.Model, x: np.ndarray) -> np.ndarray:
    results = np.asarray(keras.ops.convert_to_numpy(model(x[None], training=False)))
    first: np.ndarray = results[0]
    return first


def _refused(model: keras.Model, error: Exception) -> dict[str, Any]:
    """Whether an error is a refusal by kgated that names a layer, and says what to do."""
    text = str(error)
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    by_kgated = isinstance(error, ConversionError | ValueError) and "/kgated/" in place
    named = any(
        f"`{layer.name}`" in text for layer in [*model._flatten_layers(), *model.operations]
    )
    if by_kgated and named and any(way in text for way in WAYS_OUT):
        return {"outcome": "refused", "reason": text}
    kind = "message without layer or way out" if by_kgated else f"raw {type(error).__name__}"
    return {"outcome": kind, "reason": text[:2000], "place": place}


assert FRAMES % 2 == 0, "pooling of two frames needs whole blocks"
