"""Replaces or drops bad frames of an input, and counts what was wrong with a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kgated_edge.errors import EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.runtime.input_writer import bad_frames

REFUSE, HOLD, SKIP = "refuse", "hold", "skip"
POLICIES = (REFUSE, HOLD, SKIP)
"""The policies for a bad line, and for a frame with NaN or inf."""


@dataclass
class InputCounts:
    """The counts of a run so far.

    Attributes:
        bad_lines: lines of CSV that were no frame.
        joined_lines: frames whose line had been cut in two.
        held_frames: bad frames that were replaced by the last good one.
        skipped_frames: bad frames that were dropped.
        not_finite_steps: steps with NaN or inf in the result or in the state.
        time_s: time of the last frame, from the time column; None without one.
    """

    bad_lines: int = 0
    joined_lines: int = 0
    held_frames: int = 0
    skipped_frames: int = 0
    not_finite_steps: int = 0
    time_s: float | None = None

    def of_run(self, held_by_model: int) -> dict[str, Any]:
        """The counts of a `LiveResult`, by name; the model held frames, too."""
        names = ("skipped_frames", "bad_lines", "joined_lines", "not_finite_steps")
        held = {"held_frames": self.held_frames + held_by_model}
        return held | {name: getattr(self, name) for name in names}


def good_frames(
    frames: Iterator[Array | None], spec: TensorSpec, policy: str, counts: InputCounts
) -> Iterator[Array]:
    """Yields only frames that the model accepts.

    Args:
        frames: with None for a line that is no frame.
        spec: one frame.
        policy: "hold": the last good frame replaces a bad one; one before the first good frame is
            dropped. "skip": a bad frame is dropped. "refuse": all frames are passed on, for the
            model to refuse.
        counts: of held and skipped frames.

    Raises:
        EdgeError: another policy.
    """
    if policy not in POLICIES:
        raise EdgeError(f"`on_bad_frame` must be one of {list(POLICIES)}, got {policy!r}")
    return _passed(frames) if policy == REFUSE else _replaced(frames, spec.real, policy, counts)


def _passed(frames: Iterator[Array | None]) -> Iterator[Array]:
    return (frame for frame in frames if frame is not None)


def _replaced(
    frames: Iterator[Array | None], spec: TensorSpec, policy: str, counts: InputCounts
) -> Iterator[Array]:
    last: Array | None = None
    for frame in frames:
        if frame is not None and not bad_frames(spec, frame).any():
            last = frame
            yield frame
        elif policy == HOLD and last is not None:
            counts.held_frames += 1
            yield last
        else:
            counts.skipped_frames += 1
