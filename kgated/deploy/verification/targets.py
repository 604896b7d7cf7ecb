"""What a conversion is checked against, for either mode: sequences, golden frames, agreement."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from kgated_edge import EdgeModel, SequenceModel
from kgated_edge.format.manifest import LENGTHS, TensorSpec
from kgated_edge.runtime.batching import alone, by_name

from kgated.deploy.quantization.calibration import MAX_SAMPLES, record
from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.verification import compare
from kgated.deploy.verification.compare import Agreement, Arrays, Reference, Sequences
from kgated.deploy.verification.sequences import Calibration, given_or_random
from kgated.keras_graph import replay

Sample = dict[str, np.ndarray]


class Subject(Protocol):
    """A model together with the way to run it."""

    def sequences(self, given: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """The sequences to compare on, of frames as the manifest has them."""

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """Frames for the manifest, and what Keras answers to them."""

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """Run every sequence through the file and through Keras; the agreement of each output."""

    def samples(self, path: Path, sequences: Sequences) -> list[Sample]:
        """What the signature of a float file is fed with over the sequences."""


@dataclass(frozen=True)
class Stream:
    """Frame by frame, the state carried."""

    reference: Reference

    def sequences(self, given: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """As in `Subject`: of whole steps."""
        return given_or_random(given, frames, self.reference.frames_per_step)

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """As in `Subject`."""
        return compare.golden_frames(self.reference, sequences[0])

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Subject`."""
        return compare.compare(path, self.reference, sequences)

    def samples(self, path: Path, sequences: Sequences) -> list[Sample]:
        """As in `Subject`: with the states that real sequences leave."""
        edge = EdgeModel(path)
        alike = compare.of_one_length(sequences)
        rows = [rows for some in alike for rows, _ in compare.in_rows(some, edge.manifest.batch)]
        return record(edge, [compare.stacked(one) for one in rows])


@dataclass(frozen=True)
class Whole:
    """A sequence per call."""

    model: keras.Model
    graph: SequenceGraph
    batch: int

    def sequences(self, given: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """As in `Subject`: cut to the length, or into pieces of it where nothing may be padded."""
        size, padded = self.graph.frames_per_step, self.graph.padded
        if given is None:
            return self._random(frames)
        found = given_or_random(given, frames, 1 if padded else size, self.graph.single)
        if padded:
            return [self._cut(one, 0) for one in found]
        return [self._cut(one, n) for one in found for n in range(0, self._length(one), size)]

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """As in `Subject`: a few frames, repeated where the length is fixed; the last results."""
        whole, count = self._golden(sequences), self._golden_count(sequences)
        found, graph = self._predict([whole])[0], self.graph
        rows = {name: y[None] if name in graph.single else y for name, y in found.items()}
        kept = compare.fitting(compare.GOLDEN_NUMBERS // 2, [y[0] for y in rows.values()])
        frames = {n: x[None] if n in graph.single else x[:count] for n, x in whole.items()}
        return frames, {name: y[-kept:] for name, y in rows.items()}

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Subject`: in rows of different lengths where there is a batch."""
        edge, ordered = SequenceModel(path), Sequences()
        expected, found = list[Arrays](), list[Arrays]()
        for alike in compare.of_one_length(sequences, self._timed[0]):  # which Keras takes at once
            ordered += alike
            expected += self._predict(alike)
        for rows, count in compare.in_rows(ordered, self.batch):
            found += self._run(edge, rows)[:count]
        pairs: dict[str, list[np.ndarray]] = {}
        for name in self.graph.outputs:
            join = np.stack if name in self.graph.single else np.concatenate
            pairs[name] = [join([one[name] for one in results]) for results in (expected, found)]
        return {name: compare.agreement(*pair) for name, pair in pairs.items()}

    def samples(self, path: Path, sequences: Sequences) -> list[Sample]:
        """As in `Subject`: with the golden one, which the file will be asked for too."""
        chosen = [self._golden(sequences), *sequences[:MAX_SAMPLES]]
        return [self._fed(rows) for rows, _ in compare.in_rows(chosen, self.batch)]

    @property
    def _timed(self) -> list[str]:
        """The inputs that have frames."""
        return [name for name in self.graph.frames if name not in self.graph.single]

    def _length(self, sequence: Arrays) -> int:
        return len(sequence[self._timed[0]])

    def _cut(self, sequence: Arrays, start: int) -> Arrays:
        """The frames from there on, as many as the file takes."""
        stop = start + self.graph.frames_per_step
        return {n: x if n in self.graph.single else x[start:stop] for n, x in sequence.items()}

    def _filled(self, sequence: Arrays, length: int) -> Arrays:
        """The sequence with zeros behind it."""
        filled = dict(sequence)
        for name in self._timed:
            x = sequence[name]
            zeros = np.zeros((length - len(x), *x.shape[1:]), x.dtype)
            filled[name] = np.concatenate([x, zeros])
        return filled

    def _run(self, edge: SequenceModel, rows: Sequences) -> list[Arrays]:
        """The results of each row by output name."""
        outputs, ends = edge.manifest.outputs, [self._length(row) for row in rows]
        if len(rows) == 1:
            return [by_name(outputs, edge.run(alone(rows[0])))]
        frames = compare.stacked([self._filled(row, max(ends)) for row in rows])
        found = edge.run(alone(frames), ends if self.graph.padded else None)
        named, single = by_name(outputs, found).items(), self.graph.single
        return [
            {name: y[n] if name in single else y[n][:end] for name, y in named}
            for n, end in enumerate(ends)
        ]

    def _golden(self, sequences: Sequences) -> Arrays:
        """A short sequence, or one of a few frames that come again and again."""
        count = self._golden_count(sequences)
        length = count if self.graph.padded else self.graph.frames_per_step
        whole = {n: np.resize(x[:count], (length, *x.shape[1:])) for n, x in sequences[0].items()}
        return whole | {n: sequences[0][n] for n in whole if n in self.graph.single}

    def _golden_count(self, sequences: Sequences) -> int:
        first = sequences[0]
        frame = [first[name][0] for name in self._timed]
        most = max(1, compare.GOLDEN_NUMBERS // 2 // sum(one.size for one in frame))
        return min(self._length(first), most)

    def _fed(self, rows: Sequences) -> Sample:
        """What the signature takes for the rows of a call."""
        whole = [self._filled(row, self.graph.frames_per_step) for row in rows]
        lengths = np.array([self._length(row) for row in rows], np.int32)
        found = {name: np.stack([row[name] for row in whole]) for name in self.graph.frames}
        return found | ({LENGTHS.name: lengths} if self.graph.padded else {})

    def _random(self, frames: tuple[TensorSpec, ...], seed: int = 0) -> Sequences:
        size, single = self.graph.frames_per_step, self.graph.single
        lengths = (size, (size + 1) // 2, 1, size) if self.graph.padded else (size,) * 4
        rng = np.random.default_rng(seed)
        return [
            {f.name: compare.draw(rng, f, length)[0 if f.name in single else ...] for f in frames}
            for length in lengths
        ]

    def _predict(self, alike: Sequences) -> list[Arrays]:
        """The outputs for each of some sequences of one length."""
        graph = self.graph
        timed = tuple(name not in graph.single for name in graph.outputs)
        reference = Reference(self.model, graph.frames, graph.outputs, timed, graph.frames_per_step)
        found = reference.predict(alike)
        return [{name: y[n] for name, y in found.items()} for n in range(len(alike))]


def whole(model: keras.Model, graph: SequenceGraph, batch: int) -> Whole:
    """The subject of a model over sequences; float32, whatever batch and precision it has."""
    size = None if graph.padded else graph.frames_per_step
    inputs = [one.tensor(None, size) for one in graph.inputs]
    found = replay(model, inputs if len(inputs) > 1 else inputs[0])
    return Whole(keras.Model(inputs, found), graph, batch)
