"""Recordings of sound: a WAV or FLAC file each, as int16 samples at one rate."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from kgated_edge.errors import DataError
from kgated_edge.ingest.wav_files import read_wav, to_int16

from kgated.data.reading.recording import files_in, resampled
from kgated.optional_imports import from_extra

SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif")


def read_sound_folder(folder: Path, rate: int | None) -> Iterator[tuple[Path, int, np.ndarray]]:
    """Read the sound files below a folder, in the order of their paths.

    Args:
        folder: with WAV, FLAC, OGG and AIFF files.
        rate: samples per second to resample to; None: that of the files, all the same.

    Yields:
        path, rate, and samples (n,) int16; channels are averaged.

    Raises:
        ValueError: a file that can't be read, or of another rate than the first; one sentence.
        ImportError: soxr or soundfile is missing; the message says what to install.
    """
    first: tuple[Path, int] | None = None
    for path in files_in(folder, SUFFIXES):
        own, samples = read_sound(path)
        first = first or (path, own)
        if rate is None and own != first[1]:
            raise ValueError(
                f"{path}: mixed rates: this file has {own} Hz, {first[0]} has {first[1]} Hz: give "
                "--rate 16000 to resample all to one"
            )
        yield path, rate or own, samples if rate in (None, own) else at_rate(samples, own, rate)


def read_sound(path: Path) -> tuple[int, np.ndarray]:
    """A sound file's rate, and its samples (n,) int16 as the device reads them.

    Raises:
        ValueError: it can't be read; one sentence.
    """
    try:
        rate, samples = read_wav(path) if path.suffix.lower() == ".wav" else _by_soundfile(path)
    except DataError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    if not len(samples):
        raise ValueError(f"{path}: the file is empty: record it again, or leave it out")
    return rate, samples


def _by_soundfile(path: Path) -> tuple[int, np.ndarray]:
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty: record it again, or leave it out")
    soundfile = from_extra("soundfile", "data")
    try:
        with soundfile.SoundFile(path) as file:
            expected, rate = file.frames, file.samplerate
            samples = file.read(dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{path}: this is not an intact sound file ({error}): copy it again"
        ) from None
    if len(samples) < expected:
        raise ValueError(
            f"{path}: the file is cut short: {len(samples)} of {expected} samples are there: copy "
            "or record it again"
        )
    return rate, to_int16(samples)


def at_rate(samples: np.ndarray, old: int, rate: int) -> np.ndarray:
    """Samples (n,) int16 at another rate."""
    floats = resampled(samples / 32768.0, old, rate)
    return to_int16(floats[:, None])
