"""Does the file compute what the Keras model computes? Asked of the code that the device runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import EdgeModel
from kgated_edge.specs import TensorSpec

from kgated.deploy.graph import answers_each_frame
from kgated.deploy.recipe import Recipe
from kgated.errors import ConversionError

Sequences = list[np.ndarray]

GOLDEN_FRAMES = 8
GOLDEN_NUMBERS = 1024
RANDOM_SEQUENCES = 4


@dataclass(frozen=True)
class Agreement:
    """How the file's outputs compare with the Keras model's, over every sequence compared.

    Attributes:
        max_abs_error: the largest absolute difference of an output.
        rmse: root of the mean squared difference.
        top1_agreement: the share of results whose largest entry is the same.
        largest_output: the largest absolute output of the Keras model.
        results: how many results were compared.
    """

    max_abs_error: float
    rmse: float
    top1_agreement: float
    largest_output: float
    results: int


def expected(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    """What Keras says after each of the frames (T, ...): (T, *output).

    A model that returns one result per sequence is run on each prefix.
    """
    if answers_each_frame(model):
        return _predict(model, frames[None])[0]
    return np.concatenate([_predict(model, frames[None, :n]) for n in range(1, len(frames) + 1)])


def random_sequences(frame: TensorSpec, seed: int = 0) -> Sequences:
    """Sequences to compare on where nobody gave any: normal noise, or tokens, seeded."""
    rng = np.random.default_rng(seed)
    size = (GOLDEN_FRAMES, *frame.shape)
    if frame.vocabulary is not None:
        draw = [rng.integers(frame.vocabulary, size=size) for _ in range(RANDOM_SEQUENCES)]
        return [tokens.astype(np.int32) for tokens in draw]
    return [rng.normal(size=size).astype(np.float32) for _ in range(RANDOM_SEQUENCES)]


def golden_frames(
    model: keras.Model, sequence: np.ndarray, output_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first frames of a sequence, few enough for a small part of the file, and the results."""
    per_frame = sequence[0].size + output_size
    count = max(2, min(GOLDEN_FRAMES, GOLDEN_NUMBERS // per_frame))
    return sequence[:count], expected(model, sequence[:count])


def compare(path: str | Path, model: keras.Model, sequences: Sequences) -> Agreement:
    """Run each sequence through the file, frame by frame, and through Keras as a whole."""
    edge, each_frame = EdgeModel(path), answers_each_frame(model)
    reference, measured = [], []
    for length in {len(frames) for frames in sequences}:  # Keras takes equal lengths at once
        alike = [frames for frames in sequences if len(frames) == length]
        whole = _predict(model, np.stack(alike))
        reference.append(np.concatenate(whole) if each_frame else whole)
        for frames in alike:
            edge.reset()
            measured.append(edge.run(frames)[0 if each_frame else -1 :])
    return agreement(np.concatenate(reference), np.concatenate(measured))


def agreement(reference: np.ndarray, measured: np.ndarray) -> Agreement:
    """Compare results of shape (n, *output)."""
    error = np.abs(reference.astype(np.float64) - measured)
    same = reference.argmax(-1) == measured.argmax(-1)
    return Agreement(
        max_abs_error=float(error.max()),
        rmse=float(np.sqrt(np.mean(error**2))),
        top1_agreement=float(same.mean()),
        largest_output=float(np.abs(reference).max()),
        results=len(reference),
    )


def replay_golden(path: str | Path) -> Agreement:
    """Run the golden frames in a file through it, as a device does."""
    edge = EdgeModel(path)
    golden = edge.manifest.golden
    return agreement(golden.outputs["output"], edge.run(golden.frames["frame"]))


def require(found: Agreement, recipe: Recipe, what: str) -> None:
    """Refuse a file whose error is above the recipe's limit.

    Raises:
        ConversionError: with the error and the limit.
    """
    limit = recipe.limit(found.largest_output)
    if not found.max_abs_error <= limit:
        raise ConversionError(
            f"the file disagrees with the Keras model on {what}: max abs error "
            f"{found.max_abs_error:.3g}, and recipe {recipe.name} allows {limit:.3g}; "
            "nothing was written. Try another `quantize`"
        )


def _predict(model: keras.Model, x: np.ndarray) -> np.ndarray:
    outputs: Any = model(keras.ops.convert_to_tensor(x), training=False)
    return np.asarray(keras.ops.convert_to_numpy(outputs), np.float32)
