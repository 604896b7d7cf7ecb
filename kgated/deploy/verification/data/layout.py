"""How sequences are cut and padded to the fixed length of a file."""

from dataclasses import dataclass

import numpy as np
from kgated_edge.format.manifest import LENGTHS

from kgated.deploy.sequence.graph import SequenceGraph
from kgated.deploy.verification.data.sequences import Arrays, Sequences


@dataclass(frozen=True)
class SequenceLayout:
    """The inputs and outputs of a file that takes whole sequences.

    Attributes:
        inputs: the names of the inputs, without the lengths.
        single: names of inputs and outputs that have one value for the sequence.
        size: the length of the file's sequences, in frames.
        padded: whether sequences may be shorter.
    """

    inputs: tuple[str, ...]
    single: tuple[str, ...]
    size: int
    padded: bool

    @classmethod
    def of(cls, graph: SequenceGraph) -> "SequenceLayout":
        """The layout of a graph."""
        return cls(graph.frames, graph.single, graph.frames_per_step, graph.padded)

    @property
    def timed(self) -> list[str]:
        """The inputs that have frames."""
        return [name for name in self.inputs if name not in self.single]

    def length(self, sequence: Arrays) -> int:
        """The number of frames."""
        return len(sequence[self.timed[0]])

    def cut(self, sequence: Arrays) -> Sequences:
        """The parts of a sequence for the file: its first frames, or chunks if none is padded."""
        starts = [0] if self.padded else range(0, self.length(sequence), self.size)
        return [self.section(sequence, start, start + self.size) for start in starts]

    def section(self, sequence: Arrays, start: int, stop: int) -> Arrays:
        """The frames of a sequence from `start` to before `stop`."""
        return {n: x if n in self.single else x[start:stop] for n, x in sequence.items()}

    def pad(self, sequence: Arrays, length: int) -> Arrays:
        """The sequence with zeros after it."""
        padded = dict(sequence)
        for name in self.timed:
            x = sequence[name]
            zeros = np.zeros((length - len(x), *x.shape[1:]), x.dtype)
            padded[name] = np.concatenate([x, zeros])
        return padded

    def signature_inputs(self, rows: Sequences) -> Arrays:
        """The inputs of the file's signature for the rows of one call, with the lengths."""
        padded = [self.pad(row, self.size) for row in rows]
        arrays = {name: np.stack([row[name] for row in padded]) for name in self.inputs}
        lengths = np.array([self.length(row) for row in rows], np.int32)
        return arrays | ({LENGTHS.name: lengths} if self.padded else {})

    def split_rows(self, outputs: Arrays, lengths: list[int]) -> list[Arrays]:
        """The results of each row by output name, without those for padding."""
        return [
            {name: y[n] if name in self.single else y[n][:length] for name, y in outputs.items()}
            for n, length in enumerate(lengths)
        ]
