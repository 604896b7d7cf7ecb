"""Log-mel frames of sound, the same bits on every machine, in training and on the device.

Sums are where machines differ: in their order, and in whether a product is rounded before it is
added. So every sum here is of whole numbers below 2**53, which float64 holds exactly in any order;
what is not a sum is rounded once, as IEEE 754 says, and the logarithm is a polynomial of our own.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError, EdgeError

Samples = npt.NDArray[np.int16]
Frames = npt.NDArray[np.float32]
_SAMPLE_BITS = _WINDOW_BITS = 15
# The power of all frequencies of the loudest sound is below 12 of a full-scale sine's.
_POWER_BITS, _WEIGHT_BITS = 38, 11
_MAX_WINDOW = 4096
_FRAMES_PER_CHUNK = 1024


@dataclass(frozen=True)
class LogMel:
    """Turns sound into frames: log(mel · |DFT(window · samples)|²), of a full-scale sine about 0.

    A frame is there as soon as its last sample is: frame t is of samples t * hop to t * hop +
    window - 1, and nothing is padded.

    Attributes:
        rate: samples per second.
        window: samples of a frame, weighted by a periodic Hann window; at most 4096.
        hop: samples from one frame to the next.
        mels: bands, triangles of equal width on the scale 2595 log10(1 + f / 700).
        low_hz, high_hz: where the bands begin and end; None for half the rate.

    Raises:
        EdgeError: a value of another type or outside its range, or a band too narrow to hold a
            frequency of the DFT.

    Example:
        >>> frames = LogMel()(samples)          # (n,) int16 to (T, 40) float32
    """

    rate: int = 16000
    window: int = 400
    hop: int = 160
    mels: int = 40
    low_hz: float = 20.0
    high_hz: float | None = None

    def __post_init__(self) -> None:
        for name, most in (("rate", 10**6), ("window", _MAX_WINDOW), ("hop", 10**6)):
            _check_whole(name, getattr(self, name), most)
        _check_whole("mels", self.mels, 1024)
        for name in ("low_hz", "high_hz"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number and (name == "low_hz" or value is not None):
                raise EdgeError(f"`{name}` must be a number of Hz, got {value!r}")
        if not 0 <= self.low_hz < self._high <= self.rate / 2:
            raise EdgeError(
                f"`low_hz` and `high_hz` must rise from 0 to {self.rate / 2:g}, half the rate, got "
                f"{self.low_hz} and {self.high_hz}"
            )
        empty = np.flatnonzero(~self._weights.any(axis=0))
        if len(empty):
            raise EdgeError(
                f"`mels`: band {empty[0]} of {self.mels} holds no frequency of a window of "
                f"{self.window} samples: take fewer bands, a longer window, or a higher `low_hz`"
            )

    def __call__(self, samples: Any) -> Frames:
        """All frames of a recording.

        Args:
            samples: (n,) int16.

        Returns:
            (T, mels) float32, T = 1 + (n - window) // hop, or 0.

        Raises:
            DataError: another shape or dtype.
        """
        checked = _checked(samples)
        count = max(0, 1 + (len(checked) - self.window) // self.hop)
        frames = np.empty((count, self.mels), np.float32)
        # Hours of sound in a memory of some MiB.
        for first in range(0, count, _FRAMES_PER_CHUNK):
            some = np.arange(first, min(first + _FRAMES_PER_CHUNK, count))
            rows = some[:, None] * self.hop + np.arange(self.window)
            frames[some] = self._frames(checked[rows])
        return frames

    def stream(self) -> "LogMelStream":
        """Takes the same sound piece by piece."""
        return LogMelStream(self)

    def _frames(self, windows: Samples) -> Frames:
        """(T, window) to (T, mels)."""
        weighted = windows * self._hann
        real, imaginary = weighted @ self._cosines, weighted @ self._sines
        full = 2.0 ** (_SAMPLE_BITS + self._cosine_bits) * float(self._hann.sum()) / 2
        real, imaginary = real / full, imaginary / full
        power = np.rint((real * real + imaginary * imaginary) * 2.0**_POWER_BITS)
        bands = np.maximum(power @ self._weights, 1.0)
        return (_log(bands) - (_POWER_BITS + _WEIGHT_BITS) * math.log(2)).astype(np.float32)

    @property
    def _high(self) -> float:
        return self.rate / 2 if self.high_hz is None else self.high_hz

    @property
    def _size(self) -> int:
        """Length of the DFT: the power of two that holds the window."""
        return int(2 ** math.ceil(math.log2(self.window)))

    @property
    def _cosine_bits(self) -> int:
        """As many as leave the sums of the DFT below 2**53."""
        return 53 - _SAMPLE_BITS - _WINDOW_BITS - math.ceil(math.log2(self.window))

    @cached_property
    def _hann(self) -> npt.NDArray[np.float64]:
        angles = 2 * np.pi * np.arange(self.window) / self.window
        return _whole((0.5 - 0.5 * np.cos(angles)) * 2**_WINDOW_BITS)

    @cached_property
    def _angles(self) -> npt.NDArray[np.float64]:
        """(window, frequencies)."""
        turns = np.outer(np.arange(self.window), np.arange(self._size // 2 + 1)) % self._size
        return np.asarray(2 * np.pi * turns / self._size)

    @cached_property
    def _cosines(self) -> npt.NDArray[np.float64]:
        return _whole(np.cos(self._angles) * 2**self._cosine_bits)

    @cached_property
    def _sines(self) -> npt.NDArray[np.float64]:
        return _whole(np.sin(self._angles) * 2**self._cosine_bits)

    @cached_property
    def _weights(self) -> npt.NDArray[np.float64]:
        """(frequencies, mels)."""
        low, high = (2595 * math.log10(1 + hz / 700) for hz in (self.low_hz, self._high))
        edges = 700 * (10 ** (np.linspace(low, high, self.mels + 2) / 2595) - 1)
        hz = np.arange(self._size // 2 + 1)[:, None] * self.rate / self._size
        left, middle, right = edges[:-2], edges[1:-1], edges[2:]
        rising, falling = (hz - left) / (middle - left), (right - hz) / (right - middle)
        return _whole(np.maximum(0, np.minimum(rising, falling)) * 2**_WEIGHT_BITS)


class LogMelStream:
    """The frames of a sound that comes piece by piece: bit for bit those of all of it at once."""

    def __init__(self, front_end: LogMel) -> None:
        self._front_end = front_end
        self._left: Samples = np.empty(0, np.int16)
        self._skip = 0

    def push(self, samples: Any) -> Frames:
        """Takes the next samples, returns the frames (t, mels) that they complete; t may be 0.

        Raises:
            DataError: another shape or dtype than (n,) int16.
        """
        kept = np.concatenate([self._left, _checked(samples)])
        dropped = min(self._skip, len(kept))
        kept, self._skip = kept[dropped:], self._skip - dropped
        frames = self._front_end(kept)
        used = len(frames) * self._front_end.hop
        # With a hop beyond the window, samples between two frames are still to come.
        self._skip += max(0, used - len(kept))
        self._left = kept[used:].copy()
        return frames


def _checked(samples: Any) -> Samples:
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        got = f"{samples.shape} {samples.dtype}" if isinstance(samples, np.ndarray) else "no array"
        raise DataError(
            f"samples must be an array (n,) of int16, got {got}: of floats in -1..1 pass "
            "np.rint(x * 32767).astype(np.int16)"
        )
    return samples


def _check_whole(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise EdgeError(f"`{name}` must be a whole number in 1..{most}, got {value!r}")


def _whole(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.rint(values))


def _log(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """log(m 2**e) = e log 2 + 2 (s + s³/3 + s⁵/5 + …), s = (m - 1) / (m + 1), to 1e-14."""
    m, e = np.frexp(values)
    small = m < math.sqrt(0.5)
    m, e = np.where(small, 2 * m, m), e - small
    s = (m - 1) / (m + 1)
    square, series = s * s, np.zeros_like(s)
    for n in range(17, 0, -2):
        series = series * square + 1 / n
    return np.asarray(e * math.log(2) + 2 * s * series)
