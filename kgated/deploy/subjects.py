"""What a conversion is checked against, for either mode: sequences, golden frames, agreement."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
from kgated_edge import EdgeModel, SequenceModel
from kgated_edge.manifest import LENGTHS, TensorSpec

from kgated.deploy import verify
from kgated.deploy.calibrate import MOST_SAMPLES, record
from kgated.deploy.calibration import Calibration, given_or_random
from kgated.deploy.graph import replay
from kgated.deploy.sequence import INPUT, OUTPUT, SequenceGraph
from kgated.deploy.verify import Agreement, Arrays, Reference, Sequences

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
        return verify.golden_frames(self.reference, sequences[0])

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Subject`."""
        return verify.compare(path, self.reference, sequences)

    def samples(self, path: Path, sequences: Sequences) -> list[Sample]:
        """As in `Subject`: with the states that real sequences leave."""
        return record(EdgeModel(path), sequences)


@dataclass(frozen=True)
class Whole:
    """A sequence per call."""

    model: keras.Model
    graph: SequenceGraph

    def sequences(self, given: Calibration, frames: tuple[TensorSpec, ...]) -> Sequences:
        """As in `Subject`: cut to the length, or into pieces of it where nothing may be padded."""
        size, padded = self.graph.frames_per_step, self.graph.padded
        if given is None:
            return self._random(frames[0])
        found = [one[INPUT] for one in given_or_random(given, frames, 1 if padded else size)]
        if padded:
            return [{INPUT: x[:size]} for x in found]
        return [{INPUT: x[n : n + size]} for x in found for n in range(0, len(x), size)]

    def golden(self, sequences: Sequences) -> tuple[Arrays, Arrays]:
        """As in `Subject`: a few frames, repeated where the length is fixed; the last results."""
        whole = self._golden(sequences)
        output = self._predict([whole])[0]
        rows = output if self.graph.each_frame else output[None]
        count = verify.fitting(verify.GOLDEN_NUMBERS // 2, [rows[0]])
        return {INPUT: whole[: self._golden_count(whole)]}, {OUTPUT: rows[-count:]}

    def compare(self, path: Path, sequences: Sequences) -> dict[str, Agreement]:
        """As in `Subject`."""
        edge, expected, found = SequenceModel(path), [], []
        arrays = [one[INPUT] for one in sequences]
        for length in sorted({len(x) for x in arrays}):  # Keras takes equal lengths at once
            alike = [x for x in arrays if len(x) == length]
            expected += [*self._predict(alike)]
            found += [edge.run(x) for x in alike]
        join = np.concatenate if self.graph.each_frame else np.stack
        return {OUTPUT: verify.agreement(join(expected), join(found))}

    def samples(self, path: Path, sequences: Sequences) -> list[Sample]:
        """As in `Subject`: with the golden one, which the file will be asked for too."""
        arrays = [one[INPUT] for one in sequences[:MOST_SAMPLES]]
        return list(self._fed([self._golden(sequences), *arrays]))

    def _golden(self, sequences: Sequences) -> np.ndarray:
        """A short sequence, or one of a few frames that come again and again."""
        x = sequences[0][INPUT]
        count = self._golden_count(x)
        length = count if self.graph.padded else self.graph.frames_per_step
        return np.resize(x[:count], (length, *x.shape[1:]))

    @staticmethod
    def _golden_count(x: np.ndarray) -> int:
        return min(len(x), max(1, verify.GOLDEN_NUMBERS // 2 // x[0].size))

    def _fed(self, arrays: Iterable[np.ndarray]) -> Iterable[Sample]:
        for x in arrays:
            padding = np.zeros((self.graph.frames_per_step - len(x), *x.shape[1:]), x.dtype)
            lengths = {LENGTHS.name: np.array([len(x)], np.int32)} if self.graph.padded else {}
            yield {INPUT: np.concatenate([x, padding])[None], **lengths}

    def _random(self, frame: TensorSpec, seed: int = 0) -> Sequences:
        rng, size = np.random.default_rng(seed), self.graph.frames_per_step
        lengths = (size, (size + 1) // 2, 1, size) if self.graph.padded else (size,) * 4
        return [{INPUT: verify.draw(rng, frame, length)} for length in lengths]

    def _predict(self, arrays: list[np.ndarray]) -> np.ndarray:
        """The outputs (N, ...) for N sequences of one length."""
        graph = self.graph
        each, size = (graph.each_frame,), graph.frames_per_step
        reference = Reference(self.model, graph.frames, graph.outputs, each, size)
        return reference.predict([{INPUT: x} for x in arrays])[OUTPUT]


def whole(model: keras.Model, graph: SequenceGraph) -> Whole:
    """The subject of a model over sequences; float32, whatever batch and precision it has."""
    first, size = model.inputs[0], None if graph.padded else graph.frames_per_step
    inputs = keras.Input((size, *first.shape[2:]), dtype=first.dtype)
    return Whole(keras.Model(inputs, replay(model, inputs)), graph)
