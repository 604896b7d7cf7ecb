"""Changes the rate of audio: a polyphase windowed-sinc filter in exact integer arithmetic.

Taps are integers, and the sums of their products with 16-bit samples are below 2**53, which float64
represents exactly in any order. So the samples are the same for every division of the audio into
chunks, and on every machine.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError

Samples = npt.NDArray[np.int16]
_ZERO_CROSSINGS, _KAISER_BETA = 32, 9.0
_CUTOFF = 0.93  # of half the lower rate; the rest is the transition to the stop band
_TAP_BITS = 20
_MAX_TAPS = 1 << 22


class Resampler:
    """Resamples audio that arrives in chunks.

    Sample m of the output is at the time of sample m · source / target of the input, without delay;
    before and after the audio the input is zero.

    Args:
        source: samples per second of the input.
        target: samples per second of the output.

    Raises:
        DataError: rates whose ratio needs too large a filter.

    Example:
        >>> resampler = Resampler(44100, 16000)
        >>> samples = resampler.push(chunk)         # (n,) int16
        >>> last = resampler.finish()
    """

    def __init__(self, source: int, target: int) -> None:
        divisor = math.gcd(source, target)
        self._up, self._down = target // divisor, source // divisor
        self._half = math.ceil(_ZERO_CROSSINGS / min(1.0, target / source))
        if self._up * 2 * self._half > _MAX_TAPS:
            raise DataError(
                f"{source} samples per second cannot be resampled to {target} here: convert the "
                f"audio with `sox IN.wav -r {target} -c 1 -b 16 OUT.wav`"
            )
        self._taps = _taps(self._up, self._down, self._half)
        # Zeros before the audio, so that the first output is at the first sample.
        self._buffer: npt.NDArray[np.float64] = np.zeros(self._half - 1)
        self._first = -(self._half - 1)  # index of the first sample in the buffer
        self._received = self._next = 0

    def push(self, samples: Samples) -> Samples:
        """Takes the next samples (n,), returns the output that they complete."""
        self._received += len(samples)
        return self._push(samples)

    def finish(self) -> Samples:
        """The rest of the output after the last samples."""
        rest = self._push(np.zeros(self._half, np.int16))
        total = -(-self._received * self._up // self._down)
        return rest[: max(0, len(rest) - (self._next - total))]

    def _push(self, samples: Samples) -> Samples:
        self._buffer = np.concatenate([self._buffer, samples])
        end = self._first + len(self._buffer)
        # Output m needs the input up to floor(m · down / up) + half.
        count = max(0, -(-(end - self._half) * self._up // self._down) - self._next)
        positions = np.arange(self._next, self._next + count) * self._down
        starts, phases = positions // self._up - self._half + 1 - self._first, positions % self._up
        rows = self._buffer[starts[:, None] + np.arange(2 * self._half)]
        sums = np.einsum("nk,nk->n", rows, self._taps[phases])
        self._next += count
        used = (self._next * self._down) // self._up - self._half + 1 - self._first
        self._buffer, self._first = self._buffer[used:], self._first + used
        rounded = np.floor(sums / 2.0**_TAP_BITS + 0.5)
        return np.asarray(np.clip(rounded, -32768, 32767), np.int16)


@lru_cache(maxsize=4)
def _taps(up: int, down: int, half: int) -> Any:
    """(up, 2 · half) integers as float64; each row sums to 2**20."""
    scale = _CUTOFF * min(1.0, up / down)
    offsets = np.arange(2 * half) - half + 1
    distances = np.arange(up)[:, None] / up - offsets
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1 - (distances / half) ** 2)))
    taps = np.sinc(scale * distances) * window
    taps = np.rint(taps / taps.sum(axis=1, keepdims=True) * 2**_TAP_BITS)
    taps[:, half - 1] += 2**_TAP_BITS - taps.sum(axis=1)
    return taps
