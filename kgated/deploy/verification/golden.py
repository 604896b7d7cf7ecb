"""Golden frames: the short self-test that a file carries."""

from collections.abc import Iterable

import numpy as np

from kgated.deploy.verification.data.layout import SequenceLayout
from kgated.deploy.verification.data.sequences import Arrays
from kgated.deploy.verification.reference import Reference

MAX_FRAMES = 6
MAX_NUMBERS = 384
"""The numbers of frames and results together; half of them are for frames."""


def golden_count(numbers: int, arrays: Iterable[np.ndarray]) -> int:
    """How many copies of the arrays fit into so many numbers, from 1 to `MAX_FRAMES`."""
    return max(1, min(MAX_FRAMES, numbers // sum(array.size for array in arrays)))


def stream_golden(reference: Reference, sequence: Arrays) -> tuple[Arrays, Arrays]:
    """The first frames of a sequence, and the last results on them.

    A result depends on all frames before it, so that few results verify many frames.
    """
    size = reference.frames_per_step
    count = golden_count(MAX_NUMBERS // 2, (x[:size] for x in sequence.values()))
    frames = {name: x[: count * size] for name, x in sequence.items()}
    results = reference.predict_steps(frames)
    numbers = MAX_NUMBERS - sum(x.size for x in frames.values())
    count = golden_count(numbers, (y[0] for y in results.values()))
    return frames, {name: y[-count:] for name, y in results.items()}


def repeated_frames(layout: SequenceLayout, sequence: Arrays) -> tuple[Arrays, int]:
    """A short golden sequence for a file that takes whole sequences.

    Returns:
        The sequence, where the length is fixed its first frames repeated up to that length, and how
        many different frames it has.
    """
    frame = sum(sequence[name][0].size for name in layout.timed)
    count = min(layout.length(sequence), max(1, MAX_NUMBERS // 2 // frame))
    length = count if layout.padded else layout.size
    frames = dict(sequence)
    for name in layout.timed:
        x = sequence[name]
        frames[name] = np.resize(x[:count], (length, *x.shape[1:]))
    return frames, count


def last_results(layout: SequenceLayout, results: Arrays) -> Arrays:
    """The last results of one sequence that a file has room for, (n, *output) by name."""
    rows = {name: y[None] if name in layout.single else y for name, y in results.items()}
    count = golden_count(MAX_NUMBERS // 2, [y[0] for y in rows.values()])
    return {name: y[-count:] for name, y in rows.items()}
