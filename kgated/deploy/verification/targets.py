"""Verification targets: a model with the way to run it, as a stream or over whole sequences."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import keras
import numpy as np
from kgated_edge import EdgeModel, SequenceModel
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.batching import as_dict, unwrap_single

from kgated.deploy.quantization.ranges.calibration import MAX_SAMPLES, record, sample_origins
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.verification.compare import Agreement, agreement
from kgated.deploy.verification.data.calibration_lengths import other_lengths
from kgated.deploy.verification.data.layout import SequenceLayout
from kgated.deploy.verification.data.sequences import (
    Arrays,
    Calibration,
    Sequences,
    batches,
    evaluation_sequences,
    group_by_length,
    random_frames,
    stack_rows,
)
from kgated.deploy.verification.golden import last_results, repeated_frames, stream_golden
from kgated.deploy.verification.reference import Reference
from kgated.keras_internals.graph import replay

Sample = dict[str, np.ndarray]


class Samples(NamedTuple):
    """The inputs of a file's signature while it runs over calibration sequences.

    Attributes:
        inputs: one dictionary by input name per call of the signature.
        origins: the number of the sequence, or of the batch of sequences, that each is of.
    """

    inputs: list[Sample]
    origins: list[int]


class Target(Protocol):
    """A Keras model together with the way to run its file."""

    @property
    def reference(self) -> Reference:
        """The Keras model."""

    def sequences(self, calibration: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """The sequences to compare on, of frames as the manifest describes them."""

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """Golden frames for the manifest, and the Keras model's results on them."""

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """Run every sequence through the file and through Keras; the agreement of each output."""

    def samples(self, path: Path, sequences: Sequences) -> Samples:
        """The inputs of a float file's signature while it runs over the sequences."""


@dataclass(frozen=True)
class TargetStream:
    """A file that takes a stream step by step and carries the state."""

    reference: Reference
    batch: int = 1

    def sequences(self, calibration: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """As in `Target`: of whole steps."""
        return evaluation_sequences(calibration, frames, self.reference.frames_per_step)

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """As in `Target`."""
        return stream_golden(self.reference, sequences[0])

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Target`: step by step in the file, the whole sequence in Keras."""
        edge, timed = EdgeModel(path), self.reference.is_timed
        expected: dict[str, list[Array]] = {name: [] for name in timed}
        measured: dict[str, list[Array]] = {name: [] for name in timed}
        for group in group_by_length(sequences):  # which Keras takes in one call
            for name, results in self.reference.predict_once(group).items():
                expected[name] += [*results] if timed[name] else [results]
            for outputs in self._run(edge, group):
                for name, results in outputs.items():
                    measured[name].append(results[0 if timed[name] else -1 :])
        pairs = {name: (np.concatenate(expected[name]), measured[name]) for name in timed}
        threshold = edge.manifest.threshold
        return {
            name: agreement(y, np.concatenate(rows), threshold) for name, (y, rows) in pairs.items()
        }

    def samples(self, path: Path, sequences: Sequences) -> Samples:
        """As in `Target`: with the states of real sequences."""
        groups = group_by_length(sequences)
        batched = [rows for group in groups for rows, _ in batches(group, self.batch)]
        lengths = [len(next(iter(rows[0].values()))) for rows in batched]
        return Samples(
            record(EdgeModel(path), [stack_rows(rows) for rows in batched]),
            sample_origins(lengths, self.reference.frames_per_step),
        )

    def _run(self, edge: EdgeModel, group: Sequences) -> Iterator[Arrays]:
        """The results (steps, *output) of each sequence, all of one length, by output name."""
        for rows, count in batches(group, edge.manifest.batch):
            edge.reset()
            outputs = as_dict(edge.manifest.outputs, edge.run(unwrap_single(stack_rows(rows))))
            if len(rows) == 1:
                yield outputs
            else:
                yield from ({name: y[n] for name, y in outputs.items()} for n in range(count))


@dataclass(frozen=True)
class TargetSequence:
    """A file that takes a whole sequence in one call."""

    reference: Reference
    layout: SequenceLayout
    batch: int

    @classmethod
    def of(cls, model: keras.Model, graph: SequenceGraph, batch: int) -> "TargetSequence":
        """The target of a model; in float32, whatever batch and precision the model has."""
        size = None if graph.padded else graph.frames_per_step
        inputs = [x.tensor(None, size) for x in graph.inputs]
        outputs = replay(model, inputs if len(inputs) > 1 else inputs[0])
        timed = tuple(name not in graph.single for name in graph.outputs)
        model, size = keras.Model(inputs, outputs), graph.frames_per_step
        reference = Reference(model, graph.frames, graph.outputs, timed, size)
        return cls(reference, SequenceLayout.of(graph), batch)

    def sequences(self, calibration: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """As in `Target`: cut to the length, or into chunks of it where none may be padded."""
        layout = self.layout
        if calibration is None:
            return self._random(frames)
        size = 1 if layout.padded else layout.size
        sequences = evaluation_sequences(calibration, frames, size, layout.single)
        return [chunk for sequence in sequences for chunk in layout.cut(sequence)]

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """As in `Target`: a few frames, repeated where the length is fixed; the last results."""
        frames, count = repeated_frames(self.layout, sequences[0])
        results = last_results(self.layout, self._predict([frames])[0])
        single = self.layout.single
        return {n: x[None] if n in single else x[:count] for n, x in frames.items()}, results

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Target`: in rows of different lengths where there is a batch."""
        edge, ordered = SequenceModel(path), Sequences()
        expected, measured = list[Arrays](), list[Arrays]()
        for group in group_by_length(sequences, self.layout.timed[0]):  # which Keras takes at once
            ordered += group
            expected += self._predict(group)
        for rows, count in batches(ordered, self.batch):
            measured += self._run(edge, rows)[:count]
        threshold = edge.manifest.threshold
        return {
            name: self._agreement(name, expected, measured, threshold)
            for name in self.reference.outputs
        }

    def samples(self, path: Path, sequences: Sequences) -> Samples:
        """As in `Target`: with the golden sequence, and some of lengths that are missing.

        The first sequence is the origin of those, as the golden sequence begins with its frames.
        """
        golden, _ = repeated_frames(self.layout, sequences[0])
        extra = [golden, *other_lengths(self.reference.model, self.layout, sequences)]
        chosen = [*extra, *sequences[:MAX_SAMPLES]]
        starts = range(0, len(chosen), self.batch)
        return Samples(
            [self.layout.signature_inputs(rows) for rows, _ in batches(chosen, self.batch)],
            [max(0, n - len(extra)) // self.batch for n in starts],
        )

    def _agreement(
        self, name: str, expected: list[Arrays], measured: list[Arrays], threshold: float
    ) -> Agreement:
        join = np.stack if name in self.layout.single else np.concatenate
        reference, results = (join([y[name] for y in rows]) for rows in (expected, measured))
        return agreement(reference, results, threshold)

    def _run(self, edge: SequenceModel, rows: Sequences) -> list[Arrays]:
        """The results of each row by output name."""
        outputs, lengths = edge.manifest.outputs, [self.layout.length(row) for row in rows]
        if len(rows) == 1:
            return [as_dict(outputs, edge.run(unwrap_single(rows[0])))]
        frames = stack_rows([self.layout.pad(row, max(lengths)) for row in rows])
        results = edge.run(unwrap_single(frames), lengths if self.layout.padded else None)
        return self.layout.split_rows(as_dict(outputs, results), lengths)

    def _random(self, frames: tuple[TensorSpec, ...], seed: int = 0) -> Sequences:
        size, single = self.layout.size, self.layout.single
        lengths = (size, (size + 1) // 2, 1, size) if self.layout.padded else (size,) * 4
        rng = np.random.default_rng(seed)
        return [
            {f.name: random_frames(rng, f, n)[0 if f.name in single else ...] for f in frames}
            for n in lengths
        ]

    def _predict(self, group: Sequences) -> list[Arrays]:
        """The outputs of each sequence, all of one length."""
        outputs = self.reference.predict_once(group)
        return [{name: y[n] for name, y in outputs.items()} for n in range(len(group))]
