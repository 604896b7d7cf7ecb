"""Reads WAV of 8, 16, 24 and 32 bits and float as mono int16, in training and on the device.

Everything in the file is input from outside: each size is checked before it is used.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from kgated_edge.errors import DataError

Samples = npt.NDArray[np.int16]
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_WIDTHS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
_OPEN_ENDED = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # written to a pipe: the size was not known yet
_FULL_SCALE = 2**15
_PIECE = 1 << 16  # bytes read at once


@dataclass(frozen=True)
class WavFormat:
    """The header of a WAV file.

    Attributes:
        rate: samples per second.
        channels: how many.
        bits: of one sample.
        is_float: whether samples are floats in -1..1.
    """

    rate: int
    channels: int
    bits: int
    is_float: bool

    @property
    def width(self) -> int:
        """Bytes of the samples of all channels at one time."""
        return self.channels * self.bits // 8

    def mono(self, content: bytes) -> Samples:
        """The samples (n,) in bytes; channels are averaged, an incomplete sample is left out.

        Raises:
            DataError: NaN or inf in them.
        """
        content = content[: len(content) // self.width * self.width]
        if (self.bits, self.channels) == (16, 1):
            return np.frombuffer(content, "<i2").astype(np.int16)
        return to_int16(_decode(self, content))


def read_wav(path: str | Path) -> tuple[int, Samples]:
    """Reads a whole WAV file.

    Returns:
        the rate, and the samples (n,); channels are averaged, 16 bits in one channel are unchanged.

    Raises:
        DataError: no such file, not a WAV file, one of another encoding, one cut short, or one with
            further samples after those that its header declares.
    """
    try:
        with Path(path).open("rb") as file:
            header, size = read_header(file)
            check_size(file, header, size)
            return header.rate, header.mono(file.read() if size is None else file.read(size))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}): check the path") from None
    except (DataError, struct.error) as error:
        raise DataError(f"{path}: {error}") from None


def to_int16(samples: npt.NDArray[np.float64]) -> Samples:
    """Floats (n, channels) in -1..1 as mono (n,); louder ones saturate.

    Raises:
        DataError: NaN or inf in them.
    """
    if not np.isfinite(samples).all():
        raise DataError("there is NaN or inf among the samples: convert it again")
    total = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        total += samples[:, channel]
    scaled = np.rint(total * (_FULL_SCALE / samples.shape[1]))
    return np.asarray(np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1), np.int16)


def read_header(stream: IO[bytes]) -> tuple[WavFormat, int | None]:
    """Reads a WAV stream up to its first sample; it need not be seekable.

    Returns:
        the format, and the bytes of samples that follow, None where the header does not know it.

    Raises:
        DataError: not a WAV file, or one of another encoding.
    """
    start = stream.read(12)
    if not start:
        raise DataError("the file is empty, not a WAV file: record it again")
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise DataError("this is not a WAV file: convert it, as by `sox IN OUT.wav`")
    layout, position, long_size = None, 12, None
    while len(chunk := stream.read(8)) == 8:
        name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        position += 8
        if name == b"data":
            if layout is None:
                break
            declared = struct.unpack("<I", start[4:8])[0] + 8
            return _format(layout), _data_size(size, long_size, declared - position)
        content = _take(stream, size + size % 2)
        position += size + size % 2
        if name == b"fmt ":
            layout = content
        if name == b"ds64" and len(content) >= 16:
            long_size = struct.unpack("<Q", content[8:16])[0]
    raise _cut_header()


def _data_size(size: int, long_size: int | None, behind: int) -> int | None:
    """The bytes of samples; None where they go up to the end.

    Args:
        size: in the header of the samples.
        long_size: in the chunk of RF64 for large files.
        behind: bytes of the file after the header of the samples, by its first chunk.
    """
    if size not in _OPEN_ENDED:
        return size
    if size == 0 and 8 <= behind < _OPEN_ENDED[1] - _PIECE:
        return 0  # there are no samples, and other chunks follow
    return long_size or None


def check_size(stream: IO[bytes], header: WavFormat, size: int | None) -> None:
    """Refuses a file with fewer samples than its header declares, or with samples after them.

    Args:
        stream: seekable, after `read_header`.
        header: from `read_header`.
        size: from `read_header`.

    Raises:
        DataError: it is cut short, or goes on; see `check_end`.
    """
    if size is None:
        return
    place = stream.tell()
    left = stream.seek(0, 2) - place
    stream.seek(place + min(size, left))
    check_end(stream, size)
    stream.seek(place)
    if left < size:
        raise DataError(
            f"the WAV file is cut short: {left // header.width} of {size // header.width} samples "
            "are there: copy or record it again"
        )


def check_end(stream: IO[bytes], size: int) -> None:
    """Reads a WAV stream from the end of its samples on, and refuses further samples.

    Args:
        stream: at the end of the samples; it need not be seekable.
        size: the bytes of the samples.

    Raises:
        DataError: a second chunk of samples, or a second WAV file.
    """
    stream.read(size % 2)
    while len(chunk := stream.read(8)) == 8:
        if chunk[:4] in (b"data", b"RIFF", b"RF64"):
            kind = "chunk of samples" if chunk[:4] == b"data" else "WAV file"
            raise DataError(
                f"a second {kind} follows the first, and most programs leave it out: save each "
                "recording in a file of its own, or all samples in one chunk"
            )
        length = struct.unpack("<I", chunk[4:])[0]
        _take(stream, length + length % 2)


def _take(stream: IO[bytes], size: int) -> bytes:
    """The first bytes of the next `size`; the others are read and dropped."""
    content = stream.read(min(size, _PIECE))
    left = size - len(content)
    while left > 0 and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
    return content


def _format(layout: bytes) -> WavFormat:
    """The format in a chunk of that name."""
    if len(layout) < 16:
        raise _cut_header()
    code, channels, rate, _, align, bits = struct.unpack("<HHIIHH", layout[:16])
    if code == _EXTENSIBLE and len(layout) >= 26:
        code = struct.unpack("<H", layout[24:26])[0]
    if bits not in _WIDTHS.get(code, ()) or not channels or not 1 <= rate <= 10**6:
        raise DataError(
            f"samples of encoding {code} with {bits} bits, {channels} channels and {rate} Hz are "
            "not read: convert it, as by `sox IN.wav -b 16 -e signed-integer OUT.wav`"
        )
    if align not in (0, channels * bits // 8):
        raise DataError(
            f"{channels} channels of {bits} bits stand in {align} bytes, which are not read: "
            "convert it, as by `sox IN.wav -b 16 -e signed-integer OUT.wav`"
        )
    return WavFormat(rate, channels, bits, code == _FLOAT)


def _cut_header() -> DataError:
    return DataError("the WAV file is cut short in its header: copy or record it again")


def _decode(header: WavFormat, content: bytes) -> npt.NDArray[np.float64]:
    """(frames, channels) in -1..1."""
    samples: Any
    if header.is_float:
        samples = np.frombuffer(content, f"<f{header.bits // 8}").astype(np.float64)
    elif header.bits == 8:
        samples = (np.frombuffer(content, np.uint8).astype(np.float64) - 128) / 2**7
    elif header.bits == 24:
        parts = np.frombuffer(content, np.uint8).reshape(-1, 3).astype(np.int32)
        samples_24 = parts[:, 0] << 8 | parts[:, 1] << 16 | parts[:, 2] << 24
        samples = samples_24.astype(np.float64) / 2**31
    else:
        samples = np.frombuffer(content, f"<i{header.bits // 8}") / 2.0 ** (header.bits - 1)
    return np.asarray(samples).reshape(-1, header.channels)
