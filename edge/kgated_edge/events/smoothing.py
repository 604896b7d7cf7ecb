"""Averages of scores over time, in constant memory.

Scores are rounded to multiples of 2**-24, so the sums of a moving average are exact: they do not
drift over days, and a sum over a whole recording gives the same bits.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import EdgeError
from kgated_edge.format.event_settings import EventSettings, steps_of
from kgated_edge.format.tensor_spec import Array

Scores = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
ROUNDER = 1.5 * 2.0**28
"""A float64 from 2**28 to 2**29 has a resolution of 2**-24: adding this rounds a score to it."""
_MAX_NUMBERS = 1 << 22


class Smoother(Protocol):
    """An average of the scores so far.

    Attributes:
        scale: the average is the value that `push` returns / `scale`.
        arrays: what it keeps, by name; to be written to in place.
    """

    scale: int
    arrays: Mapping[str, Array]

    def push(self, scores: Scores) -> Values:
        """Takes the scores (C,) of a step; returns the average · `scale`, a view."""

    def restored(self) -> None:
        """Must be called after `arrays` were written to."""


class MovingAverage:
    """The mean over the last n steps; steps before the first count as zero."""

    def __init__(self, size: int, steps: int) -> None:
        self.scale = steps
        self._ring = np.full((steps, size), ROUNDER)
        self._rows, self._sums = list(self._ring), np.zeros(size)
        # NumPy takes twice as long for a Python number as for an array.
        self._rounder = np.full(size, ROUNDER)
        self._place = np.zeros(1, np.int64)
        self._next, self._memory = 0, self._place.data
        self.arrays: Mapping[str, Array] = {"ring": self._ring, "place": self._place}

    def push(self, scores: Scores) -> Values:
        """As in `Smoother`; also rounds where n is 1."""
        place, sums = self._next, self._sums
        row = self._rows[place]
        np.subtract(sums, row, sums)
        np.add(scores, self._rounder, row)
        np.add(sums, row, sums)
        place += 1
        if place == self.scale:
            place = 0
            # Exact in any case but one: scores so large that their sums were rounded.
            np.sum(self._ring - ROUNDER, axis=0, out=sums)
        self._next = place
        self._memory[0] = place
        return sums

    def restored(self) -> None:
        """As in `Smoother`."""
        self._next = int(self._place[0])
        np.sum(self._ring - ROUNDER, axis=0, out=self._sums)


class ExponentialAverage:
    """s = a · score + (1 - a) · s, with a = 1 - exp(-step / time constant), from s = 0."""

    scale = 1

    def __init__(self, size: int, weight: float) -> None:
        self._weight, self._rest = np.full(size, weight), np.full(size, 1.0 - weight)
        self._rounder = np.full(size, ROUNDER)
        self._average, self._new = np.zeros(size), np.zeros(size)
        self.arrays: Mapping[str, Array] = {"average": self._average}

    def push(self, scores: Scores) -> Values:
        """As in `Smoother`."""
        average, new = self._average, self._new
        np.add(scores, self._rounder, new)
        np.subtract(new, self._rounder, new)
        np.multiply(new, self._weight, new)
        np.multiply(average, self._rest, average)
        np.add(average, new, average)
        return average

    def restored(self) -> None:
        """As in `Smoother`."""


def make_smoother(settings: EventSettings, size: int, step_s: float) -> Smoother:
    """The smoother of some settings.

    Args:
        settings: `smoothing` and `smoothing_s` are used.
        size: scores per step.
        step_s: seconds from one step to the next.

    Raises:
        EdgeError: an average over more numbers than 32 MiB hold.
    """
    if settings.smoothing == "exponential" and settings.smoothing_s > 0:
        return ExponentialAverage(size, weight_of(settings.smoothing_s, step_s))
    steps = max(1, steps_of(settings.smoothing_s, step_s))
    if steps * size > _MAX_NUMBERS:
        raise EdgeError(
            f"a mean over {settings.smoothing_s:g} s is over {steps} steps of {size} scores, more "
            f"than {_MAX_NUMBERS} numbers: use smoothing 'exponential', or a shorter time"
        )
    return MovingAverage(size, steps)


def weight_of(smoothing_s: float, step_s: float) -> float:
    """The weight of a new score in an exponential average with this time constant."""
    return -math.expm1(-step_s / smoothing_s)
