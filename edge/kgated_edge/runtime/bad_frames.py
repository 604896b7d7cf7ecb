"""Replaces frames with NaN or inf by the last good frame, for sensors that drop out at times."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, NotFiniteError
from kgated_edge.format.tensor_spec import Array, TensorSpec

REFUSE, HOLD = POLICIES = ("refuse", "hold")


class LastGoodFrames:
    """The last good frame of each input, and the number of frames replaced by it.

    Attributes:
        count: frames replaced so far.
    """

    def __init__(self) -> None:
        self.count = self._replaced = 0
        self._last: dict[str, Array | None] = {}
        self._pending: dict[str, Array | None] = {}

    def forget(self) -> None:
        """Forgets all frames, so that a sequence uses none of the sequence before."""
        self._last.clear()

    def writer(self, spec: TensorSpec, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wraps `write` of one input so that bad frames are replaced.

        Args:
            spec: one frame of the input.
            write: takes a frame (*spec.shape) or a block of frames (k, *spec.shape); raises
                `NotFiniteError` for NaN and inf.

        Returns:
            a function that raises `NotFiniteError` only where no good frame came before.
        """

        def write_replaced(frames: Any) -> None:
            replaced = 0
            try:
                write(frames)
            except NotFiniteError:
                frames, replaced = self._filled(spec, frames)
                if replaced == 0:
                    raise
                write(frames)
            self._replaced += replaced
            last = np.array(frames).reshape(-1, *spec.shape)[-1]
            # An integer frame of a quantized model is in other units than the float32 to replace.
            self._pending[spec.name] = last if last.dtype == np.float32 else None

        return write_replaced

    def recording(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """Wraps `write` of all inputs so that their frames are recorded once all are accepted."""

        def write_all(frames: Any) -> None:
            self._replaced = 0
            write(frames)
            self.count += self._replaced
            self._last |= self._pending

        return write_all

    def _filled(self, spec: TensorSpec, frames: Array) -> tuple[Array, int]:
        """The frames, bad ones replaced by the one before, and how many; 0 where none is before."""
        filled = frames.copy()
        rows, before = filled.reshape(-1, *spec.shape), self._last.get(spec.name)
        bad = _bad_rows(rows)
        if before is None and bad[0]:
            return frames, 0
        for n, is_bad in enumerate(bad):
            if is_bad:
                rows[n] = before
            before = rows[n]
        return filled, sum(bad)


def _bad_rows(rows: Array) -> list[bool]:
    """Which rows (n, *frame) hold NaN or inf."""
    return [not np.isfinite(row).all() for row in rows]


def check_policy(policy: str) -> None:
    """Raises `EdgeError` for a name that is not in `POLICIES`."""
    if policy not in POLICIES:
        raise EdgeError(f"`on_bad_frame` must be one of {list(POLICIES)}, got {policy!r}")
