"""Log-mel frames of audio, bit-identical on every machine, in training and on the device.

Machines differ in sums: in their order, and in whether a product is rounded before it is added
(FMA). Every sum here is of integers below 2**53, which float64 represents exactly in any order. All
other operations round once, as in IEEE 754, and the logarithm is the polynomial of `exact_math`.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.ingest.exact_math import integer_product, log

Samples = npt.NDArray[np.int16]
Frames = npt.NDArray[np.float32]
Energies = npt.NDArray[np.float64]
_SAMPLE_BITS = _WINDOW_BITS = 15
# The total power of the loudest signal is below 12 times that of a full-scale sine.
_POWER_BITS, _WEIGHT_BITS = 38, 11
_ENERGY_BITS = _POWER_BITS + _WEIGHT_BITS
_MAX_WINDOW = 4096
_FRAMES_PER_CHUNK = 1024


@dataclass(frozen=True)
class LogMel:
    """Computes log-mel frames from audio: log(mel · |DFT(window · samples)|²).

    The value of a full-scale sine is about 0. Frame t covers samples t * hop to t * hop + window -
    1, without padding, so it is complete with its last sample.

    Attributes:
        rate: samples per second.
        window: samples per frame, weighted by a periodic Hann window; at most 4096.
        hop: samples from one frame to the next.
        mels: number of bands, triangles of equal width on the scale 2595 log10(1 + f / 700).
        low_hz, high_hz: limits of the bands; None for half the rate.

    Raises:
        EdgeError: a value of another type or out of range, or a band too narrow to contain a
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
    _dtype: ClassVar[Any] = np.float32

    def __post_init__(self) -> None:
        for name, maximum in (("rate", 10**6), ("window", _MAX_WINDOW), ("hop", 10**6)):
            _check_integer(name, getattr(self, name), maximum)
        _check_integer("mels", self.mels, 1024)
        for name in ("low_hz", "high_hz"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number and (name == "low_hz" or value is not None):
                raise EdgeError(f"`{name}` must be a number of Hz, got {value!r}")
        if not 0 <= self.low_hz < self._high <= self.rate / 2:
            raise EdgeError(
                f"`low_hz` and `high_hz` must increase in 0..{self.rate / 2:g}, half the rate, "
                f"got {self.low_hz} and {self.high_hz}"
            )
        empty = np.flatnonzero(~self._weights.any(axis=0))
        if len(empty):
            raise EdgeError(
                f"`mels`: band {empty[0]} of {self.mels} contains no frequency of a window of "
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
        frames = np.empty((count, self.mels), self._dtype)
        # In chunks, so that hours of audio take a few MiB.
        for first in range(0, count, _FRAMES_PER_CHUNK):
            chunk = np.arange(first, min(first + _FRAMES_PER_CHUNK, count))
            rows = chunk[:, None] * self.hop + np.arange(self.window)
            frames[chunk] = self._values(self._energies(checked[rows]))
        return frames

    def stream(self) -> "LogMelStream":
        """Computes the same frames from audio that arrives in chunks."""
        return LogMelStream(self)

    def _values(self, energies: Energies) -> Any:
        """The frames of energies (T, mels)."""
        return (log(energies) - _ENERGY_BITS * math.log(2)).astype(np.float32)

    def _energies(self, windows: Samples) -> Energies:
        """(T, window) to the energies of the bands (T, mels), in units of 2**-_ENERGY_BITS."""
        weighted = windows * self._hann
        real = integer_product(weighted, self._cosines)
        imaginary = integer_product(weighted, self._sines)
        full = 2.0 ** (_SAMPLE_BITS + self._cosine_bits) * float(self._hann.sum()) / 2
        real, imaginary = real / full, imaginary / full
        power = np.rint((real * real + imaginary * imaginary) * 2.0**_POWER_BITS)
        return np.asarray(np.maximum(integer_product(power, self._weights), 1.0))

    @property
    def _high(self) -> float:
        return self.rate / 2 if self.high_hz is None else self.high_hz

    @property
    def _size(self) -> int:
        """Length of the DFT: the next power of two from the window."""
        return int(2 ** math.ceil(math.log2(self.window)))

    @property
    def _cosine_bits(self) -> int:
        """Bits of the cosines that keep the sums of the DFT below 2**53."""
        return 53 - _SAMPLE_BITS - _WINDOW_BITS - math.ceil(math.log2(self.window))

    @cached_property
    def _hann(self) -> npt.NDArray[np.float64]:
        angles = 2 * np.pi * np.arange(self.window) / self.window
        return _rounded((0.5 - 0.5 * np.cos(angles)) * 2**_WINDOW_BITS)

    @cached_property
    def _angles(self) -> npt.NDArray[np.float64]:
        """(window, frequencies)."""
        indices = np.outer(np.arange(self.window), np.arange(self._size // 2 + 1)) % self._size
        return np.asarray(2 * np.pi * indices / self._size)

    @cached_property
    def _cosines(self) -> npt.NDArray[np.float64]:
        return _rounded(np.cos(self._angles) * 2**self._cosine_bits)

    @cached_property
    def _sines(self) -> npt.NDArray[np.float64]:
        return _rounded(np.sin(self._angles) * 2**self._cosine_bits)

    @cached_property
    def _weights(self) -> npt.NDArray[np.float64]:
        """(frequencies, mels)."""
        low, high = (2595 * math.log10(1 + hz / 700) for hz in (self.low_hz, self._high))
        edges = 700 * (10 ** (np.linspace(low, high, self.mels + 2) / 2595) - 1)
        hz = np.arange(self._size // 2 + 1)[:, None] * self.rate / self._size
        left, middle, right = edges[:-2], edges[1:-1], edges[2:]
        rising, falling = (hz - left) / (middle - left), (right - hz) / (right - middle)
        return _rounded(np.maximum(0, np.minimum(rising, falling)) * 2**_WEIGHT_BITS)


class MelEnergies(LogMel):
    """The energies of the bands in float64, that of a full-scale sine about 1; see `LogMel`."""

    _dtype: ClassVar[Any] = np.float64

    def _values(self, energies: Energies) -> Any:
        return energies * 2.0**-_ENERGY_BITS


class LogMelStream:
    """The frames of audio that arrives in chunks: bit-identical to those of the whole audio."""

    def __init__(self, front_end: LogMel) -> None:
        self._front_end = front_end
        self._rest: Samples = np.empty(0, np.int16)
        self._skip = 0

    def push(self, samples: Any) -> Frames:
        """Takes the next samples (n,), returns the frames (t, mels) that they complete; t may be 0.

        Raises:
            DataError: another shape or dtype than (n,) int16.
        """
        buffer = np.concatenate([self._rest, _checked(samples)])
        dropped = min(self._skip, len(buffer))
        buffer, self._skip = buffer[dropped:], self._skip - dropped
        frames = self._front_end(buffer)
        used = len(frames) * self._front_end.hop
        # With a hop larger than the window, the samples to skip may not have arrived yet.
        self._skip += max(0, used - len(buffer))
        self._rest = buffer[used:].copy()
        return frames


def _checked(samples: Any) -> Samples:
    if not isinstance(samples, np.ndarray) or samples.dtype != np.int16 or samples.ndim != 1:
        got = f"{samples.shape} {samples.dtype}" if isinstance(samples, np.ndarray) else "no array"
        raise DataError(
            f"samples must be an array (n,) of int16, got {got}: convert floats in -1..1 by "
            "np.rint(x * 32767).astype(np.int16)"
        )
    return samples


def _check_integer(name: str, value: Any, maximum: int) -> None:
    if type(value) is not int or not 1 <= value <= maximum:
        raise EdgeError(f"`{name}` must be a whole number in 1..{maximum}, got {value!r}")


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.rint(values))
