"""Does the file compute what the Keras model computes? Asked of the code that the device runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import EdgeModel, open_model
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.batching import as_dict, unwrap_single

from kgated.deploy.recipe import Recipe
from kgated.deploy.streaming import StepModel
from kgated.errors import ConversionError
from kgated.keras_graph import any_length, with_time

Arrays = dict[str, Array]
Sequences = list[Arrays]
"""Each (T, *frame) by input name, T a multiple of the frames per step."""

GOLDEN_FRAMES = 6
GOLDEN_NUMBERS = 384
RANDOM_SEQUENCES, RANDOM_STEPS = 4, 32


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


@dataclass(frozen=True)
class Reference:
    """What the file has to compute.

    Attributes:
        model: the Keras model, over any number of frames.
        frames, outputs: the names of its inputs and outputs in the file, in the model's order.
        has_time: for each output whether it has a result per step, and not one per sequence.
        frames_per_step: how many frames a step takes.
    """

    model: keras.Model
    frames: tuple[str, ...]
    outputs: tuple[str, ...]
    has_time: tuple[bool, ...]
    frames_per_step: int

    @classmethod
    def of(cls, model: keras.Model, step: StepModel) -> "Reference":
        """The reference for the step of a model."""
        timed = tuple(with_time(model))
        return cls(any_length(model), step.frames, step.outputs, timed, step.frames_per_step)

    def predict(self, sequences: Sequences) -> Arrays:
        """Each output (N, ...) of N sequences of one length."""
        batch = [np.stack([sequence[name] for sequence in sequences]) for name in self.frames]
        tensors = [keras.ops.convert_to_tensor(x) for x in batch]
        found: Any = keras.tree.flatten(
            self.model(tensors if len(tensors) > 1 else tensors[0], training=False)
        )
        arrays = [np.asarray(keras.ops.convert_to_numpy(y), np.float32) for y in found]
        return dict(zip(self.outputs, arrays, strict=True))


def expected(reference: Reference, frames: Arrays) -> Arrays:
    """What Keras says after each step over the frames: (steps, *output) by output name.

    An output that is one result per sequence is computed on each prefix.
    """
    size = reference.frames_per_step
    ends = range(size, len(next(iter(frames.values()))) + 1, size)
    prefixes = [{name: x[:end] for name, x in frames.items()} for end in ends]
    found = {name: array[0] for name, array in reference.predict([frames]).items()}
    if not all(reference.has_time):
        singles = [reference.predict([prefix]) for prefix in prefixes]
        for name, timed in zip(reference.outputs, reference.has_time, strict=True):
            if not timed:
                found[name] = np.concatenate([single[name] for single in singles])
    return found


def random_sequences(frames: tuple[TensorSpec, ...], size: int, seed: int = 0) -> Sequences:
    """Sequences to compare on where nobody gave any: normal noise, or tokens, seeded."""
    rng, count = np.random.default_rng(seed), RANDOM_STEPS * size
    return [{f.name: draw(rng, f, count) for f in frames} for _ in range(RANDOM_SEQUENCES)]


def draw(rng: np.random.Generator, frame: TensorSpec, count: int) -> Array:
    """So many frames of normal noise, or tokens: (count, *frame)."""
    shape = (count, *frame.shape)
    if frame.vocabulary is not None:
        return rng.integers(frame.vocabulary, size=shape).astype(np.int32)
    return rng.normal(size=shape).astype(np.float32)


def golden_frames(reference: Reference, sequence: Arrays) -> tuple[Arrays, Arrays]:
    """The first frames of a sequence, and the last results on them.

    Half of the numbers that a file has room for are frames; a result depends on all before it.
    """
    size = reference.frames_per_step
    start = {name: x[:size] for name, x in sequence.items()}
    count = fitting(GOLDEN_NUMBERS // 2, start.values())
    frames = {name: x[: count * size] for name, x in sequence.items()}
    results = expected(reference, frames)
    room = GOLDEN_NUMBERS - sum(x.size for x in frames.values())
    count = fitting(room, (y[0] for y in results.values()))
    return frames, {name: y[-count:] for name, y in results.items()}


def fitting(numbers: int, arrays: Iterable[np.ndarray]) -> int:
    """How many times the arrays go into so many numbers, from 1 to `GOLDEN_FRAMES`."""
    return max(1, min(GOLDEN_FRAMES, numbers // sum(array.size for array in arrays)))


def compare(path: str | Path, reference: Reference, sequences: Sequences) -> dict[str, Agreement]:
    """Run each sequence through the file, step by step, and through Keras as a whole.

    Returns:
        How each output agrees, by name.
    """
    edge = EdgeModel(path)
    timed = dict(zip(reference.outputs, reference.has_time, strict=True))
    whole: dict[str, list[Array]] = {name: [] for name in timed}
    streamed: dict[str, list[Array]] = {name: [] for name in timed}
    for alike in of_one_length(sequences):  # which Keras takes at once
        for name, results in reference.predict(alike).items():
            whole[name] += [*results] if timed[name] else [results]
        for rows, count in in_rows(alike, edge.manifest.batch):
            edge.reset()
            found = as_dict(edge.manifest.outputs, edge.run(unwrap_single(stacked(rows))))
            for name, results in found.items():
                each = results[:count] if len(rows) > 1 else [results]
                streamed[name] += [row[0 if timed[name] else -1 :] for row in each]
    joined = {name: np.concatenate(whole[name]) for name in timed}
    return {name: agreement(y, np.concatenate(streamed[name])) for name, y in joined.items()}


def of_one_length(sequences: Sequences, name: str | None = None) -> Iterator[Sequences]:
    """The sequences by their number of frames; `name` is an input that has frames."""
    lengths = [len(frames[name or next(iter(frames))]) for frames in sequences]
    for length in dict.fromkeys(lengths):
        yield [one for one, n in zip(sequences, lengths, strict=True) if n == length]


def in_rows(sequences: Sequences, batch: int) -> Iterator[tuple[Sequences, int]]:
    """So many sequences at a time, and how many of them are no repetition to fill the last ones."""
    total = len(sequences)
    for n in range(0, total, batch):
        yield [sequences[k % total] for k in range(n, n + batch)], min(batch, total - n)


def stacked(rows: Sequences) -> Arrays:
    """The rows of a call side by side; a single one as it is."""
    if len(rows) == 1:
        return rows[0]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


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


def together(outputs: Iterable[Agreement]) -> Agreement:
    """The agreement of several outputs: the worst error, the mean of what is a mean."""
    found = list(outputs)
    total = sum(one.results for one in found)
    return Agreement(
        max_abs_error=float(np.max([one.max_abs_error for one in found])),  # NaN stays NaN
        rmse=float(np.sqrt(np.average([o.rmse**2 for o in found]))),
        top1_agreement=sum(one.top1_agreement * one.results for one in found) / total,
        largest_output=max(one.largest_output for one in found),
        results=total,
    )


def replay_golden(path: str | Path) -> Agreement:
    """Run the golden frames in a file through it, as a device does."""
    edge = open_model(path)
    found = edge.golden_outputs()
    golden = edge.manifest.golden.outputs
    return together(agreement(array, found[name]) for name, array in golden.items())


def require(found: Agreement, recipe: Recipe, what: str) -> None:
    """Refuse a file whose error is above the recipe's limit.

    Raises:
        ConversionError: with the error and the limit.
    """
    figures = {
        "max abs error": (found.max_abs_error, recipe.limit(found.largest_output)),
        "RMSE": (found.rmse, recipe.rmse_limit(found.largest_output)),
    }
    for name, (error, limit) in figures.items():
        if not error <= limit:
            raise ConversionError(
                f"the file disagrees with the Keras model on {what}: {name} {error:.3g}, and "
                f"recipe {recipe.name} allows {limit:.3g}; nothing was written. Try another "
                "`quantize`, or `skip` the layers that are sensitive"
            )
