"""Reads the frames of a front end from audio: WAV files and headerless samples."""

import wave
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np

from kgated_edge.errors import DataError
from kgated_edge.format.tensor_spec import Array
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.resample import Resampler, Samples

_CHUNK_S = 0.01  # of audio per read
_CONVERT = "convert it with `sox IN.wav -b 16 -e signed-integer OUT.wav`"
AnyFrontEnd = LogMel | FrontEnd
MakeFrontEnd = Callable[[int | None], AnyFrontEnd]
"""Makes the front end for audio of a rate, None where the audio does not say it. The front end may
have another rate, to which the audio is then resampled."""


def wav_frames(stream: IO[bytes], front_end: MakeFrontEnd) -> Iterator[Array]:
    """Yields the frames of a WAV file: PCM of 8, 16, 24 or 32 bits; the mean of the channels.

    Raises:
        DataError: another kind of file.
    """
    try:
        with wave.open(stream) as sound:
            width, channels, rate = (
                sound.getsampwidth(),
                sound.getnchannels(),
                sound.getframerate(),
            )
            computed = front_end(rate)
            # readframes counts frames of all channels.
            size = width * channels
            read = lambda count: sound.readframes(count // size)  # noqa: E731
            yield from audio_frames(read, computed, width, channels, rate)
    except (wave.Error, EOFError) as error:
        raise DataError(
            f"this is not a WAV file of PCM samples ({str(error) or 'cut short'}): {_CONVERT}"
        ) from None


def audio_frames(
    read: Callable[[int], bytes],
    front_end: AnyFrontEnd,
    width: int = 2,
    channels: int = 1,
    rate: int | None = None,
) -> Iterator[Array]:
    """Yields the frames of audio.

    Args:
        read: reads up to so many bytes, none at the end.
        front_end: computes the frames.
        width: bytes per sample.
        channels: samples side by side; their mean is used.
        rate: samples per second; None for that of the front end.
    """
    stream, size = front_end.stream(), width * channels
    rate = rate or front_end.rate
    resampler = None if rate == front_end.rate else Resampler(rate, front_end.rate)
    chunk = size * max(1, round(rate * _CHUNK_S))
    while content := read(chunk):
        samples = _mono(content[: len(content) // size * size], width, channels)
        yield from stream.push(samples if resampler is None else resampler.push(samples))
    if resampler is not None:
        yield from stream.push(resampler.finish())


def _mono(content: bytes, width: int, channels: int) -> Samples:
    """Samples of 16 bits: the upper bits of wider ones, the mean of the channels rounded down."""
    if width == 1:
        samples = (np.frombuffer(content, np.uint8).astype(np.int32) - 128) << 8
    elif width == 3:
        bytes_ = np.frombuffer(content, np.uint8).reshape(-1, 3)
        samples = bytes_[:, 1:].copy().view("<i2").ravel().astype(np.int32)
    else:
        samples = np.frombuffer(content, f"<i{width}").astype(np.int32) >> (8 * (width - 2))
    if channels > 1:
        samples = samples.reshape(-1, channels).sum(axis=1, dtype=np.int64) // channels
    return samples.astype(np.int16)
