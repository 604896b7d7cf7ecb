"""Runs one step of many sessions: together where the file has a signature for it, else in turn."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.interpreter import Binding
from kgated_edge.runtime.session_states import Part, SessionStates, parts_of
from kgated_edge.runtime.tensor_views import as_bytes

_ALL = slice(None)
ByteCopy = tuple[memoryview, memoryview]
StateCopies = tuple[tuple[ByteCopy, ...], tuple[ByteCopy, ...]]
"""The copies of one session: (target, source) before a step, and after it."""
Arrays = Mapping[str, Array]
Positions = slice | Array
"""Which sessions of a call, by their place in it."""


@dataclass(frozen=True)
class Group:
    """Sessions of a call that run together.

    Attributes:
        size: the batch of the signature; 1: they run one after the other.
        positions: their places in the call; fewer than `size` leave the last rows unused.
        parts: how their states are copied; empty for a size of 1.
    """

    size: int
    positions: Positions
    parts: list[Part]


def plan_groups(numbers: Sequence[int], sizes: Sequence[int]) -> list[Group]:
    """Divides the sessions of a call into groups, large ones first.

    A session that is listed twice is in two groups, in order. A batch is used where at least half
    of its rows are.

    Args:
        numbers: the row of states of each session.
        sizes: batch sizes of the file above 1, ascending.
    """
    groups: list[Group] = []
    for positions in waves(numbers):
        start, count = 0, len(positions)
        for size in reversed(sizes):
            while 2 * (count - start) >= size:
                chosen = positions[start : start + size]
                parts = parts_of([numbers[n] for n in chosen])
                groups.append(Group(size, as_positions(chosen), parts))
                start += len(chosen)
        if start < count:
            groups.append(Group(1, as_positions(positions[start:]), []))
    return groups


def waves(numbers: Sequence[int]) -> list[list[int]]:
    """Divides a call into parts in which each session is once.

    Returns:
        the places of the first occurrence of each number, then of the second, and so on.
    """
    waves: list[list[int]] = []
    counts: dict[int, int] = {}
    for place, number in enumerate(numbers):
        turn = counts.get(number, 0)
        counts[number] = turn + 1
        if turn == len(waves):
            waves.append([])
        waves[turn].append(place)
    return waves


def as_positions(places: list[int]) -> Positions:
    """Places as a slice where they ascend by one."""
    if places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return np.array(places)


class BatchRunner:
    """The step of several sessions at once, in an interpreter of its own.

    Args:
        binding: of the signature for `binding.manifest.batch` sessions.
        states: of all sessions.
    """

    def __init__(self, binding: Binding, states: SessionStates) -> None:
        manifest, inputs, outputs = binding.manifest, binding.inputs, binding.outputs
        self.binding, self._states = binding, states
        self._invoke = binding.interpreter.invoke
        self._frames = [(spec.name, inputs[spec.name]) for spec in manifest.frames]
        self._sources = [inputs[spec.name] for spec in manifest.states]
        self._new = [outputs[spec.name] for spec in manifest.states]
        self._results = [(spec.name, outputs[spec.name]) for spec in manifest.outputs]

    def run(self, group: Group, frames: Arrays, results: Arrays) -> None:
        """Runs a group: reads the rows of its frames, writes the rows of its results."""
        positions, parts = group.positions, group.parts
        is_full = type(positions) is slice and positions.stop - positions.start == group.size
        count = group.size if is_full else _count(positions)
        for name, tensor in self._frames:
            tensor[:count] = frames[name][positions]
        self._states.load(parts, self._sources)
        self._invoke()
        for name, tensor in self._results:
            results[name][positions] = tensor[:count]
        self._states.store(parts, self._new)


def _count(positions: Positions) -> int:
    return positions.stop - positions.start if isinstance(positions, slice) else len(positions)


class SingleRunner:
    """The step of one session after the other.

    Args:
        binding: of the signature for one session.
    """

    def __init__(self, binding: Binding) -> None:
        manifest, inputs, outputs = binding.manifest, binding.inputs, binding.outputs
        self._invoke = binding.interpreter.invoke
        self._frames = [(spec.name, as_bytes(inputs[spec.name])) for spec in manifest.frames]
        states = [spec.name for spec in manifest.states]
        self._sources = [as_bytes(inputs[name]) for name in states]
        self._new = [as_bytes(outputs[name]) for name in states]
        self._results = [(o.name, as_bytes(outputs[o.name])) for o in manifest.outputs]

    def copies(self, states: Sequence[Array]) -> StateCopies:
        """The copies of a session's states into the tensors before a step, and out after it."""
        rows = [as_bytes(state) for state in states]
        before = tuple(zip(self._sources, rows, strict=True))
        return before, tuple(zip(rows, self._new, strict=True))

    def run(
        self,
        copies: Sequence[StateCopies],
        positions: Positions,
        frames: Arrays,
        results: Arrays,
    ) -> None:
        """Runs sessions in order: what is the same for all of them is done once."""
        (input_1, column_1), *more_inputs = [
            (tensor, _row_bytes(frames[name][positions])) for name, tensor in self._frames
        ]
        reads = [output.tobytes for _, output in self._results]
        contents = [list[bytes]() for _ in reads]
        (read_1, *more_reads), (add_1, *more_adds) = reads, [rows.append for rows in contents]
        invoke = self._invoke
        for n, ((before, after), frame) in enumerate(zip(copies, column_1, strict=True)):
            input_1[_ALL] = frame
            if more_inputs:
                for target, column in more_inputs:
                    target[_ALL] = column[n]
            for target, source in before:
                target[_ALL] = source
            invoke()
            for target, source in after:
                target[_ALL] = source
            add_1(read_1())
            if more_reads:
                for add, read in zip(more_adds, more_reads, strict=True):
                    add(read())
        for (name, _), rows in zip(self._results, contents, strict=True):
            results[name][positions] = _concatenated(rows, results[name])


def _concatenated(rows: Sequence[bytes], like: Array) -> Array:
    """The rows as an array with the dtype, and the shape of a row, of another one."""
    return np.frombuffer(bytearray().join(rows), like.dtype).reshape(len(rows), *like.shape[1:])


def _row_bytes(frames: Array) -> tuple[bytes, ...]:
    """The bytes of each row."""
    # Five times as fast as slices.
    size = frames.nbytes // max(1, len(frames))
    return struct.unpack(f"{size}s" * len(frames), frames.tobytes())


class InterpreterRounds:
    """One step of each session of a call, by signatures of the file.

    Args:
        binding: of the signature for one session, with those for several in `whole`.
        states: of all sessions.

    Attributes:
        single: the step of a single session.

    Raises:
        ManifestError: a signature for several sessions does not run.
    """

    def __init__(self, binding: Binding, states: SessionStates) -> None:
        self.single, self._sizes = SingleRunner(binding), binding.manifest.sessions
        batches = [binding.for_sessions(size) for size in self._sizes]
        self._batches = {b.manifest.batch: BatchRunner(b, states) for b in batches}
        self._plan: tuple[list[int], list[Group]] = ([], [])

    def run(
        self, numbers: list[int], sessions: Sequence[Any], frames: Arrays, results: Arrays
    ) -> None:
        """Runs the sessions with these rows of states; a session listed twice takes two steps."""
        for group in self._groups(numbers):
            if group.size > 1:
                self._batches[group.size].run(group, frames, results)
                continue
            places = group.positions
            chosen = (
                sessions[places] if isinstance(places, slice) else [sessions[n] for n in places]
            )
            copies = [session._state_copies() for session in chosen]
            self.single.run(copies, places, frames, results)

    def _groups(self, numbers: list[int]) -> list[Group]:
        """The groups of a call; those of the call before where the sessions are the same."""
        if not self._batches:
            return [Group(1, _ALL, [])] if numbers else []
        if numbers != self._plan[0]:
            self._plan = numbers, plan_groups(numbers, self._sizes)
        return self._plan[1]
