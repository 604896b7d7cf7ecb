"""Windows over long recordings, given in seconds or in frames."""

import re

from kgated.data.reading.recording import Recording

_SIZE = re.compile(r"^\s*([0-9.]+(?:e-?\d+)?)\s*(s|ms|f|frames?)?\s*$")


def frames_of(name: str, size: str | float | None, period_s: float | None) -> int | None:
    """A window or a hop in frames.

    Args:
        name: of the option, for the message.
        size: seconds as a number or a text, such as 2.0, "2.0" or "500ms"; frames as "50f"; or
            None.
        period_s: seconds from one frame to the next; None where unknown.

    Raises:
        ValueError: no size, less than a frame, or seconds where the period is unknown.
    """
    if size is None:
        return None
    match = _SIZE.match(str(size))
    if match is None:
        raise ValueError(f"{name} must be seconds, such as 2.0, or frames, 50f. Received: {size!r}")
    try:
        number, unit = float(match.group(1)), match.group(2) or "s"
    except ValueError:
        raise ValueError(f"{name} must be a number. Received: {size!r}") from None
    if unit in ("s", "ms"):
        if period_s is None:
            raise ValueError(
                f"{name} in seconds needs the sample period: give --sample-period-ms or a time "
                f"column, or frames, such as {name} 50f"
            )
        number *= (1e-3 if unit == "ms" else 1.0) / period_s
    frames = round(number)
    if frames < 1:
        raise ValueError(f"{name} must be one frame or more. Received: {size!r}")
    return frames


def window_bounds(
    recording: Recording, window: int | None, hop: int | None
) -> list[tuple[int, int]]:
    """First frame and end of each window; a shorter recording is one window.

    Frames after the last whole window are left out.
    """
    frames = len(recording.x)
    if window is None or frames <= window:
        return [(0, frames)]
    starts = range(0, frames - window + 1, hop or window)
    return [(start, start + window) for start in starts]
