"""The states of all sessions of a pool: one array per state, a row per session."""

from collections.abc import Sequence

import numpy as np

from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.state_checks import are_finite

CHUNK = 256  # sessions in one array; arrays never move, since sessions hold views of them
Part = tuple[int, slice | Array, slice | Array]
"""(chunk, rows in a batch, rows in the chunk) of sessions that one copy moves."""


class SessionStates:
    """Rows of states, handed out to sessions and taken back.

    Args:
        specs: the states of one session.
    """

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._specs = specs
        self._chunks: list[list[Array]] = []
        self._free: list[int] = []

    def acquire(self) -> int:
        """The number of a free row, with states of zero."""
        if not self._free:
            self._add_chunk()
        number = self._free.pop()
        for spec, array in zip(self._specs, self.arrays(number), strict=True):
            array[...] = spec.zero_point or 0
        return number

    def release(self, number: int) -> None:
        """Takes a row back."""
        self._free.append(number)

    def arrays(self, number: int) -> list[Array]:
        """The states of one row."""
        chunk, row = divmod(number, CHUNK)
        return [states[row] for states in self._chunks[chunk]]

    def addresses(self, numbers: Sequence[int]) -> Array:
        """Where the states of these rows lie: (rows, states)."""
        pointers = [[array.ctypes.data for array in self.arrays(number)] for number in numbers]
        return np.array(pointers, np.uintp).reshape(len(numbers), len(self._specs))

    def load(self, parts: Sequence[Part], targets: Sequence[Array]) -> None:
        """Copies states into the tensors of a batch, one per state."""
        for chunk, places, rows in parts:
            for target, states in zip(targets, self._chunks[chunk], strict=True):
                if isinstance(rows, slice) or not isinstance(places, slice):
                    target[places] = states[rows]
                else:  # a tenth of the time of the assignment
                    states.take(rows, 0, target[places], "clip")

    def store(self, parts: Sequence[Part], sources: Sequence[Array]) -> None:
        """Copies states out of the tensors of a batch, one per state."""
        for chunk, places, rows in parts:
            for source, states in zip(sources, self._chunks[chunk], strict=True):
                states[rows] = source[places]

    def not_finite(self, numbers: Sequence[int]) -> list[int]:
        """The places in `numbers`, all different, of the rows that hold NaN or inf."""
        bad_places: set[int] = set()
        for chunk, places, rows in parts_of(numbers):
            for states in self._chunks[chunk]:
                if not are_finite([part := states[rows]]):
                    bad = ~np.isfinite(part.reshape(len(part), -1)).all(axis=1)
                    bad_places.update(np.arange(len(numbers))[places][bad].tolist())
        return sorted(bad_places)

    def _add_chunk(self) -> None:
        first = CHUNK * len(self._chunks)
        arrays = [np.zeros((CHUNK, *spec.shape), spec.dtype) for spec in self._specs]
        self._chunks.append(arrays)
        # Handed out in ascending order, so that the rows of sessions opened together are together.
        self._free = [*reversed(range(first, first + CHUNK)), *self._free]


def parts_of(numbers: Sequence[int]) -> list[Part]:
    """The copies that move the states of these rows, which are all different."""
    chunks, rows = np.divmod(np.asarray(numbers), CHUNK)
    parts: list[Part] = []
    for chunk in np.unique(chunks):
        (places,) = np.nonzero(chunks == chunk)
        parts.append((int(chunk), _as_slice(places), _as_slice(rows[places])))
    return parts


def _as_slice(numbers: Array) -> slice | Array:
    """A slice where the numbers ascend by one: it copies at once, and not row by row."""
    first, count = int(numbers[0]), len(numbers)
    if np.array_equal(numbers, np.arange(first, first + count)):
        return slice(first, first + count)
    return numbers
