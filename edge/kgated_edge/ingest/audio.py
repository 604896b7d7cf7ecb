"""Reads the frames of a front end from audio: WAV files and headerless samples."""

from collections.abc import Callable, Iterator
from typing import IO

from kgated_edge.format.tensor_spec import Array
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel
from kgated_edge.ingest.resample import Resampler
from kgated_edge.ingest.wav_files import WavFormat, check_end, check_size, read_header

_CHUNK_S = 0.01  # of audio per read, as it arrives
_FILE_CHUNK_S = 2.0  # of a file that is there: fewer calls
AnyFrontEnd = LogMel | FrontEnd
MakeFrontEnd = Callable[[int | None], AnyFrontEnd]
"""Makes the front end for audio of a rate, None where the audio does not say it. The front end may
have another rate, to which the audio is then resampled."""


def wav_frames(stream: IO[bytes], front_end: MakeFrontEnd) -> Iterator[Array]:
    """Yields the frames of WAV: 8, 16, 24 or 32 bits, or float; the mean of the channels.

    Raises:
        DataError: another kind of file; a file, not a pipe, that is cut short; further samples
            after those that the header declares, in a pipe after the last frame.
    """
    header, size = read_header(stream)
    is_file = stream.seekable()
    if is_file:
        check_size(stream, header, size)
    yield from audio_frames(
        _limited(stream, size),
        front_end(header.rate),
        header,
        header.rate,
        _FILE_CHUNK_S if is_file else _CHUNK_S,
    )
    if not is_file and size is not None:
        check_end(stream, size)


def audio_frames(
    read: Callable[[int], bytes],
    front_end: AnyFrontEnd,
    header: WavFormat | None = None,
    rate: int | None = None,
    chunk_s: float = _CHUNK_S,
) -> Iterator[Array]:
    """Yields the frames of audio; they do not depend on the size of the chunks.

    Args:
        read: reads up to so many bytes, none at the end.
        front_end: computes the frames.
        header: format of the samples; None: 16 bits in one channel.
        rate: samples per second; None for that of the front end.
        chunk_s: seconds of audio per read.
    """
    rate = rate or front_end.rate
    header = header or WavFormat(rate, 1, 16, False)
    stream = front_end.stream()
    resampler = None if rate == front_end.rate else Resampler(rate, front_end.rate)
    chunk = header.width * max(1, round(rate * chunk_s))
    while content := read(chunk):
        samples = header.mono(content)
        yield from stream.push(samples if resampler is None else resampler.push(samples))
    if resampler is not None:
        yield from stream.push(resampler.finish())


def _limited(stream: IO[bytes], size: int | None) -> Callable[[int], bytes]:
    """Reads from a stream, in all no more than `size` bytes."""
    if size is None:
        return stream.read
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        content = stream.read(min(count, left))
        left -= len(content)
        return content

    return read
