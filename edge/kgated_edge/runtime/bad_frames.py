"""Frames with NaN or inf replaced by the last good one, for sensors that drop out now and then."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kgated_edge.errors import EdgeError, NotFiniteError
from kgated_edge.format.tensor_spec import Array, TensorSpec

REFUSE, HOLD = POLICIES = ("refuse", "hold")


class Hold:
    """Remembers the last good frame of each input, and counts the bad ones.

    Attributes:
        count: frames replaced so far.
    """

    def __init__(self) -> None:
        self.count = self._replaced = 0
        self._last: dict[str, Array | None] = {}
        self._seen: dict[str, Array | None] = {}

    def forget(self) -> None:
        """Remembers none: a sequence takes nothing from the one before."""
        self._last.clear()

    def writer(self, spec: TensorSpec, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """`write` for one input, but that bad frames are replaced.

        Args:
            spec: one frame of the input.
            write: takes a frame, or a block of them; raises `NotFiniteError` for NaN and inf.

        Returns:
            a function that raises it only when no good frame came before.
        """

        def write_held(frames: Any) -> None:
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
            # A frame of a quantized model's own integers is not in units of one that may be bad.
            self._seen[spec.name] = last if last.dtype == np.float32 else None

        return write_held

    def keeping(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """`write` of all inputs, after which, if none is refused, their frames are remembered."""

        def write_all(frames: Any) -> None:
            self._replaced = 0
            write(frames)
            self.count += self._replaced
            self._last |= self._seen

        return write_all

    def _filled(self, spec: TensorSpec, frames: Array) -> tuple[Array, int]:
        """The frames with each bad one as the one before it; 0 replaced where there is none."""
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
    """Which rows (n, ...) hold NaN or inf."""
    return [not np.isfinite(row).all() for row in rows]


def check_policy(policy: str) -> None:
    """Raises `EdgeError` for a name that is none of `POLICIES`."""
    if policy not in POLICIES:
        raise EdgeError(f"`on_bad_frame` must be one of {list(POLICIES)}, got {policy!r}")
