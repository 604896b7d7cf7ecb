"""Reads WAV files of 8, 16, 24 and 32 bits and float as mono int16, in training and on the device.

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


@dataclass(frozen=True)
class WavFormat:
    """The header of a WAV file.

    Attributes:
        rate: samples per second.
        channels: how many.
        bits: of one sample.
        is_float: whether samples are floats in -1..1.
        frames: samples of each channel.
    """

    rate: int
    channels: int
    bits: int
    is_float: bool
    frames: int


def read_wav(path: str | Path) -> tuple[int, Samples]:
    """Reads a whole WAV file.

    Returns:
        the rate, and the samples (n,); channels are averaged, 16 bits in one channel are unchanged.

    Raises:
        DataError: no such file, not a WAV file, one of another encoding, or one cut short.
    """
    try:
        with Path(path).open("rb") as file:
            header, content = _read(file)
        return header.rate, to_int16(_decode(header, content))
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


def _read(file: IO[bytes]) -> tuple[WavFormat, bytes]:
    start = file.read(12)
    if not start:
        raise DataError("the file is empty: record it again")
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise DataError("this is not a WAV file: convert it, as by `sox IN OUT.wav`")
    layout: bytes | None = None
    while len(chunk := file.read(8)) == 8:
        name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        if name == b"data":
            if layout is None:
                break
            return _data(layout, size, file)
        if name == b"fmt ":
            layout = file.read(min(size, 64))
            file.seek(max(0, size - 64) + size % 2, 1)
        else:
            file.seek(size + size % 2, 1)
    raise DataError("the WAV file is cut short in its header: copy or record it again")


def _data(layout: bytes, size: int, file: IO[bytes]) -> tuple[WavFormat, bytes]:
    if len(layout) < 16:
        raise DataError("the WAV file is cut short in its header: copy or record it again")
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", layout[:16])
    if code == _EXTENSIBLE and len(layout) >= 26:
        code = struct.unpack("<H", layout[24:26])[0]
    if bits not in _WIDTHS.get(code, ()) or not channels or not 1 <= rate <= 10**6:
        raise DataError(
            f"samples of encoding {code} with {bits} bits, {channels} channels and {rate} Hz are "
            "not read: convert it, as by `sox IN -b 16 -e signed-integer OUT.wav`"
        )
    content = file.read() if size in _OPEN_ENDED else file.read(size)
    width = channels * bits // 8
    if size not in _OPEN_ENDED and len(content) < size:
        raise DataError(
            f"the WAV file is cut short: {len(content) // width} of {size // width} samples are "
            "there: copy or record it again"
        )
    frames = len(content) // width
    return WavFormat(rate, channels, bits, code == _FLOAT, frames), content[: frames * width]


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
