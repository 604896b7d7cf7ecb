"""The accuracy of a file and of its Keras model, by the task code that devices run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from kgated_edge import SequenceData, check, read_manifest
from kgated_edge.errors import DataError
from kgated_edge.evaluation.arrays import Data, as_sequences
from kgated_edge.evaluation.metrics import Classes, Quality
from kgated_edge.evaluation.tasks import check_fit, make_scorer
from kgated_edge.format.manifest import Manifest

from kgated.deploy.streaming import step_model
from kgated.deploy.verification.data.sequences import Arrays, Sequences
from kgated.deploy.verification.reference import Reference
from kgated.keras_internals.graph import any_length

BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """How both models do on the same labelled sequences.

    Attributes:
        keras: metrics of the Keras model.
        file: metrics of the file.
        sequences: how many sequences were evaluated.
    """

    keras: Quality
    file: Quality
    sequences: int

    @property
    def accuracy_lost(self) -> float | None:
        """The Keras model's accuracy minus the file's; None for a task without decisions."""
        if self.keras.accuracy is None or self.file.accuracy is None:
            return None
        return self.keras.accuracy - self.file.accuracy

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Evaluation":
        """The evaluation of `dataclasses.asdict`, also after JSON."""
        keras, file = (Quality(**document[name]) for name in ("keras", "file"))
        return cls(keras, file, document["sequences"])


def evaluate_both(
    model: keras.Model,
    path: str | Path,
    data: Data,
    task: str | None = None,
) -> Evaluation:
    """Judge a file and its Keras model on labelled sequences, by the first output.

    Args:
        model: the Keras model that the file was made of.
        path: the file, of batch 1.
        data: sequences with `y`, or the path of an `.npz` file.
        task: one of those of `kgated_edge.check`; None: by `y` and the model.

    Raises:
        DataError: the data do not fit the model, or have no `y`.
    """
    manifest = read_manifest(path)
    names = [frame.name for frame in manifest.frames]
    data = as_sequences(data, names if len(names) > 1 else (), manifest.single)
    return evaluate_reference(_reference(model, manifest), path, data, task)


def evaluate_reference(
    reference: Reference, path: str | Path, data: SequenceData, task: str | None = None
) -> Evaluation:
    """`evaluate_both` with the Keras model as the conversion has it."""
    manifest = read_manifest(path)
    check_fit(manifest, data)
    keras_quality = _evaluate_keras(reference, manifest, data, task)
    result = check(path, data, task=task, warmup_steps=0)
    assert result.quality is not None, "the same data were judged above"
    return Evaluation(keras_quality, result.quality, len(data))


def check_evaluation(manifest: Manifest, data: SequenceData, task: str | None = None) -> None:
    """Refuse labelled sequences that a file of that manifest can't be judged by.

    Raises:
        DataError: they do not fit the model, or the labels do not fit the output.
    """
    check_fit(manifest, data)
    make_scorer(manifest, data, task)


def _evaluate_keras(
    reference: Reference, manifest: Manifest, data: SequenceData, task: str | None
) -> Quality:
    scorer, first = make_scorer(manifest, data, task), manifest.outputs[0]
    if scorer is None:
        raise DataError("there is no `y` to evaluate by: save it")
    if isinstance(scorer, Classes) and not reference.is_timed[first.name]:
        # One result for the whole sequence tells the decision; each prefix would take a call.
        scorer = make_scorer(replace(manifest, mode="sequence"), data, task)
        assert scorer is not None
        every_step = False
    else:
        every_step = manifest.mode == "stream"
    for indices in _groups(data):
        sequences = [_whole_steps(manifest, data, n) for n in indices]
        for n, results in zip(indices, _results(reference, sequences, every_step), strict=True):
            scorer.add(n, results[first.name].reshape(-1, first.size))
    return scorer.quality()


def _groups(data: SequenceData) -> Iterator[list[int]]:
    """Indices of sequences of one length, at most `BATCH` at a time."""
    for length in np.unique(data.lengths):
        indices = np.flatnonzero(data.lengths == length).tolist()
        yield from (indices[n : n + BATCH] for n in range(0, len(indices), BATCH))


def _results(reference: Reference, sequences: Sequences, every_step: bool) -> list[Arrays]:
    """The Keras model's outputs for each of some sequences of one length."""
    if every_step and not all(reference.has_time):
        return [reference.predict_steps(sequence) for sequence in sequences]
    outputs = reference.predict(sequences)
    return [{name: y[n] for name, y in outputs.items()} for n in range(len(sequences))]


def _reference(model: keras.Model, manifest: Manifest) -> Reference:
    frames = tuple(spec.name for spec in manifest.frames)
    outputs = tuple(spec.name for spec in manifest.outputs)
    size = manifest.frames_per_step
    if manifest.mode == "stream":
        timed = step_model(model).has_time
        stride = manifest.frames_per_result // step_model(model).frames_per_step
        return Reference(any_length(model), frames, outputs, timed, size, stride)
    if manifest.padded and not manifest.single:
        model = any_length(model)
    timed = tuple(manifest.is_timed(spec) for spec in manifest.outputs)
    return Reference(model, frames, outputs, timed, size)


def _whole_steps(manifest: Manifest, data: SequenceData, n: int) -> Arrays:
    """A sequence by input name; a stream's is cut to whole steps."""
    sequence = data.sequence(n)
    arrays = sequence if isinstance(sequence, dict) else {manifest.frames[0].name: sequence}
    if manifest.mode == "sequence":
        return {name: np.asarray(x) for name, x in arrays.items()}
    size = manifest.frames_per_step
    return {name: x[: len(x) // size * size] for name, x in arrays.items()}
