"""Runs one step of many sessions by a native library, which reads its weights once for several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kgated_edge.format.tensor_spec import Array
from kgated_edge.runtime.engines import NativeBinding
from kgated_edge.runtime.session_rounds import (
    Arrays,
    Positions,
    SingleRunner,
    as_positions,
    waves,
)
from kgated_edge.runtime.session_states import SessionStates


@dataclass(frozen=True)
class _Wave:
    """Sessions that are all different.

    Attributes:
        positions: their places in the call.
        states: (sessions, states) addresses of their states.
    """

    positions: Positions
    states: Array


class NativeRounds:
    """One step of each session of a call, whose states the library changes where they lie.

    Args:
        binding: of a library.
        states: of all sessions.

    Attributes:
        single: the step of a single session.

    Raises:
        EdgeError: the library is made of sources without such steps.
    """

    def __init__(self, binding: NativeBinding, states: SessionStates) -> None:
        self.single = SingleRunner(binding)
        self._step, self._states = binding.of_library.sessions_caller(), states
        manifest = binding.manifest
        self._inputs = [spec.name for spec in manifest.blocks]
        self._outputs = [spec.name for spec in manifest.answers]
        self._plan: tuple[list[int], list[_Wave]] = ([], [])

    def run(
        self, numbers: list[int], sessions: Sequence[Any], frames: Arrays, results: Arrays
    ) -> None:
        """Runs the sessions with these rows of states; a session listed twice takes two steps."""
        if numbers != self._plan[0]:
            self._plan = numbers, [self._wave(places, numbers) for places in waves(numbers)]
        for wave in self._plan[1]:
            positions = wave.positions
            inputs = [np.ascontiguousarray(frames[name][positions]) for name in self._inputs]
            outputs = [results[name][positions] for name in self._outputs]  # views, or copies
            self._step(wave.states, [*inputs, *outputs])
            if not isinstance(positions, slice):
                for name, rows in zip(self._outputs, outputs, strict=True):
                    results[name][positions] = rows

    def _wave(self, places: list[int], numbers: Sequence[int]) -> _Wave:
        return _Wave(as_positions(places), self._states.addresses([numbers[n] for n in places]))
