"""Log-mel, MFCC or PCEN frames with deltas and standardization, as the manifest describes them.

Training and device run this code. It has the same bits however the audio is cut into chunks: every
sum is exact (`exact_math.exact_product`), all else is elementwise.
"""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.format.front_end import FrontEndSpec, front_end_from_plain
from kgated_edge.ingest.exact_math import Values, exact_product, log, power
from kgated_edge.ingest.logmel import Frames, LogMel, LogMelStream, MelEnergies

_MAX_LOG = 64.0  # energies are in 2**-49..2**16
_DELTA_FRAMES = 4  # the slope over frames t - 4 to t
_CHUNK = 1 << 18  # samples


class FrontEnd:
    """Computes the frames of a `FrontEndSpec` from audio.

    Frame t is complete with sample t * hop + window - 1; no value depends on later samples.

    Args:
        spec: the front end, as in `manifest.front_end`.

    Raises:
        ManifestError: a value out of range.
        EdgeError: a band too narrow to contain a frequency of the DFT.

    Example:
        >>> frames = FrontEnd(manifest.front_end)(samples)      # (n,) int16 to (T, features)
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self.spec = front_end_from_plain(spec.to_plain())
        kind = LogMel if spec.kind == "log-mel" else MelEnergies
        self.mel = kind(spec.rate, spec.window, spec.hop, spec.mels, spec.low_hz, spec.high_hz)

    @property
    def rate(self) -> int:
        """Samples per second."""
        return self.spec.rate

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.spec.hop

    def __call__(self, samples: Any) -> Frames:
        """All frames of a recording.

        Args:
            samples: (n,) int16.

        Returns:
            (T, features) float32, T = 1 + (n - window) // hop, or 0.

        Raises:
            DataError: another shape or dtype.
        """
        stream = self.stream()
        if not isinstance(samples, np.ndarray) or samples.ndim != 1:
            return stream.push(samples)
        chunks = [stream.push(samples[n : n + _CHUNK]) for n in range(0, len(samples), _CHUNK)]
        return np.concatenate(chunks or [np.empty((0, self.spec.features), np.float32)])

    def stream(self) -> "FrontEndStream":
        """Computes the same frames from audio that arrives in chunks."""
        return FrontEndStream(self)

    @cached_property
    def dct(self) -> Values:
        """The orthonormal DCT-II, (mels, coefficients)."""
        mels, count = self.spec.mels, self.spec.coefficients or 0
        angles = np.pi * (np.arange(mels)[:, None] + 0.5) * np.arange(count) / mels
        table = np.cos(angles) * np.sqrt(2 / mels)
        table[:, 0] = np.sqrt(1 / mels)
        return np.asarray(table)


class FrontEndStream:
    """The frames of audio that arrives in chunks: bit-identical to those of the whole audio."""

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end, self._spec = front_end, front_end.spec
        self._mel = LogMelStream(front_end.mel)
        self._pcen = _Pcen(self._spec)
        self._deltas = [_Deltas() for _ in range(self._spec.deltas)]

    def push(self, samples: Any) -> Frames:
        """Takes the next samples (n,), returns the frames (t, features) that they complete.

        Raises:
            DataError: another shape or dtype than (n,) int16.
        """
        parts = [self._base(self._mel.push(samples))]
        for deltas in self._deltas:
            parts.append(deltas.push(parts[-1]))
        return self._standardized(np.concatenate(parts, axis=1))

    def _base(self, frames: npt.NDArray[Any]) -> Frames:
        if self._spec.kind == "mfcc":
            return exact_product(log(frames), self._front_end.dct, _MAX_LOG).astype(np.float32)
        return frames if self._spec.kind == "log-mel" else self._pcen.push(frames)

    def _standardized(self, frames: Frames) -> Frames:
        if self._spec.mean is None:
            return frames
        mean, scale = np.array(self._spec.mean), np.array(self._spec.scale)
        return np.asarray((frames.astype(np.float64) - mean) * scale, np.float32)


class _Pcen:
    """Per-channel energy normalization (Wang et al. 2017): (E / (floor + M)^gain + bias)^power.

    M is the energy E smoothed over time, from that of the first frame; bias^power is subtracted.
    """

    def __init__(self, spec: FrontEndSpec) -> None:
        self._parameters, self._mean = spec.pcen or {}, None
        if spec.pcen is not None:
            frames = spec.pcen["smoothing_s"] / spec.period_s
            # The coefficient whose filter has its half-power point at 1 / (2 pi frames).
            square = frames * frames
            self._weight = 2 / (np.sqrt(1 + 4 * square) + 1)

    def push(self, energies: Values) -> Frames:
        means, mean = np.empty_like(energies), self._mean
        for t, energy in enumerate(energies):
            mean = energy if mean is None else mean + self._weight * (energy - mean)
            means[t] = mean
        self._mean = mean
        p = self._parameters
        gained = energies * power(means + p["floor"], -p["gain"]) + p["bias"]
        offset = power(np.array([p["bias"]]), p["power"])
        return np.asarray(power(gained, p["power"]) - offset).astype(np.float32)


class _Deltas:
    """The slope of each value by linear regression over the last five frames.

    The frames before the first one repeat it.
    """

    def __init__(self) -> None:
        self._last: Frames | None = None

    def push(self, frames: Frames) -> Frames:
        if not len(frames):
            return frames
        if self._last is None:
            self._last = np.repeat(frames[:1], _DELTA_FRAMES, axis=0)
        x = np.concatenate([self._last, frames]).astype(np.float64)
        self._last = x[-_DELTA_FRAMES:].astype(np.float32)
        return ((2 * (x[4:] - x[:-4]) + (x[3:-1] - x[1:-3])) / 10).astype(np.float32)
