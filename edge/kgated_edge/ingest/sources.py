"""Frames as they come: out of a pipe or a file, as numbers or as sound."""

import wave
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np

from kgated_edge.errors import DataError, EdgeError
from kgated_edge.format.tensor_spec import Array, TensorSpec
from kgated_edge.ingest.logmel import LogMel

FORMATS = ("float32", "csv", "wav", "pcm")
_CHUNK_S = 0.01  # of sound that is read at once
_MAX_LINE = 1 << 20


def frames_of(
    stream: IO[bytes], form: str, spec: TensorSpec, front_end: Callable[[int | None], LogMel]
) -> Iterator[Array]:
    """Frames one by one, each as soon as its bytes are there.

    What is left at the end and makes no frame is not used.

    Args:
        stream: binary; only read from, never sought in.
        form: "float32": the numbers of a frame one after the other, little-endian; "csv": a frame a
            line, commas or blanks between numbers; "wav": 16 bit, one channel; "pcm": the samples
            of such a file alone, little-endian.
        spec: one frame of the model's input.
        front_end: makes the log-mel front end for sound; it is given the file's rate, or None.

    Raises:
        EdgeError: no such form.
        DataError: a line that is no frame, a sound file of another kind.
    """
    if form not in FORMATS:
        raise EdgeError(f"`form` must be one of {list(FORMATS)}, got {form!r}")
    if form == "float32":
        return _raw(stream, spec)
    if form == "csv":
        return _lines(stream, spec)
    if form == "wav":
        return _wav(stream, front_end)
    return _sound(stream.read, front_end(None), 2)


def _raw(stream: IO[bytes], spec: TensorSpec) -> Iterator[Array]:
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
            values = [int(one) if dtype == "int32" else float(one) for one in fields]
            # A number too large for float32 becomes inf, which the model has a word to say about.
            with np.errstate(over="ignore"):
                frame = np.array(values, dtype).reshape(spec.shape)
        except (ValueError, OverflowError):
            raise DataError(
                f"line {number} must hold {spec.size} numbers of {dtype}, got "
                f"{line[:60].decode(errors='replace')!r}: write a frame a line"
            ) from None
        yield frame


def _wav(stream: IO[bytes], front_end: Callable[[int | None], LogMel]) -> Iterator[Array]:
    try:
        with wave.open(stream) as sound:
            if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
                raise DataError(
                    f"a WAV file must be of 16 bit in one channel, got {8 * sound.getsampwidth()} "
                    f"bit in {sound.getnchannels()}: convert it"
                )
            made = front_end(sound.getframerate())
            # A read of wave.open counts frames, which are of two bytes here.
            yield from _sound(lambda size: sound.readframes(size // 2), made, 2)
    except (wave.Error, EOFError) as error:
        raise DataError(f"this is not a WAV file of plain samples ({error}): convert it") from None


def _sound(read: Callable[[int], bytes], front_end: LogMel, width: int) -> Iterator[Array]:
    stream, size = front_end.stream(), width * max(1, round(front_end.rate * _CHUNK_S))
    while content := read(size):
        whole = len(content) // width * width
        yield from stream.push(np.frombuffer(content[:whole], "<i2").astype(np.int16))


def blocks_of(frames: Iterator[Array], size: int) -> Iterator[Any]:
    """Frames gathered to what one step takes; what is left at the end is not used."""
    if size == 1:
        yield from frames
        return
    kept: list[Array] = []
    for frame in frames:
        kept.append(frame)
        if len(kept) == size:
            yield np.stack(kept)
            kept.clear()
