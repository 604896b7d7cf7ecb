"""Reads frames from a pipe or a file, as numbers or as audio."""

import wave
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.ingest.front_end import FrontEnd
from kgated_edge.ingest.logmel import LogMel

FORMATS = ("float32", "csv", "wav", "pcm")
_CHUNK_S = 0.01  # of audio per read
_MAX_LINE = 1 << 20
AnyFrontEnd = LogMel | FrontEnd


def frames_of(
    stream: IO[bytes], form: str, spec: TensorSpec, front_end: Callable[[int | None], AnyFrontEnd]
) -> Iterator[Array]:
    """Yields frames (*spec.shape) one by one, each as soon as its bytes have arrived.

    An incomplete frame at the end is left out.

    Args:
        stream: binary; it need not be seekable.
        form: "float32": the numbers of all frames in order, little-endian; "csv": a frame per line,
            with commas or blanks between numbers; "wav": 16 bits, one channel; "pcm": the samples
            of such a file without a header, little-endian.
        spec: one frame of the model's input.
        front_end: makes the front end for audio from the file's rate, or None.

    Raises:
        EdgeError: an unknown form.
        DataError: a line that is not a frame, an audio file of another kind.
    """
    if form not in FORMATS:
        raise EdgeError(f"`form` must be one of {list(FORMATS)}, got {form!r}")
    if form == "float32":
        return _binary(stream, spec)
    if form == "csv":
        return _lines(stream, spec)
    if form == "wav":
        return _wav(stream, front_end)
    return _audio(stream.read, front_end(None), 2)


def _binary(stream: IO[bytes], spec: TensorSpec) -> Iterator[Array]:
    stored = np.dtype(spec.real.dtype).newbyteorder("<")
    size = spec.size * stored.itemsize
    while len(content := stream.read(size)) == size:
        yield np.frombuffer(content, stored).reshape(spec.shape).astype(spec.real.dtype)


def _lines(stream: IO[bytes], spec: TensorSpec) -> Iterator[Array]:
    dtype, number = spec.real.dtype, 0
    while line := stream.readline(_MAX_LINE):
        number += 1
        fields = line.replace(b",", b" ").split()
        try:
            values = [int(field) if dtype == "int32" else float(field) for field in fields]
            # A number too large for float32 becomes inf, which the model refuses.
            with np.errstate(over="ignore"):
                frame = np.array(values, dtype).reshape(spec.shape)
        except (ValueError, OverflowError):
            raise DataError(
                f"line {number} must hold {spec.size} numbers of {dtype}, got "
                f"{line[:60].decode(errors='replace')!r}: write one frame per line"
            ) from None
        yield frame


def _wav(stream: IO[bytes], front_end: Callable[[int | None], AnyFrontEnd]) -> Iterator[Array]:
    try:
        with wave.open(stream) as sound:
            if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
                raise DataError(
                    f"a WAV file must have 16 bits and one channel, got {8 * sound.getsampwidth()} "
                    f"bits and {sound.getnchannels()} channels: convert it"
                )
            log_mel = front_end(sound.getframerate())
            # readframes counts samples, which have two bytes here.
            yield from _audio(lambda size: sound.readframes(size // 2), log_mel, 2)
    except (wave.Error, EOFError) as error:
        raise DataError(f"this is not a WAV file of PCM samples ({error}): convert it") from None


def _audio(read: Callable[[int], bytes], front_end: AnyFrontEnd, width: int) -> Iterator[Array]:
    stream, size = front_end.stream(), width * max(1, round(front_end.rate * _CHUNK_S))
    while content := read(size):
        complete = len(content) // width * width
        yield from stream.push(np.frombuffer(content[:complete], "<i2").astype(np.int16))


def blocks_of(frames: Iterator[Array], size: int) -> Iterator[Any]:
    """Groups frames into blocks (size, *frame); an incomplete block at the end is left out."""
    if size == 1:
        yield from frames
        return
    block: list[Array] = []
    for frame in frames:
        block.append(frame)
        if len(block) == size:
            yield np.stack(block)
            block.clear()
