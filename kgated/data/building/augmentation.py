"""Augmentation of training data: sound before its front end, and frames of sensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kgated_edge.ingest.wav_files import to_int16

from kgated.data.reading.sound_folder import read_sound_folder
from kgated.data.sequences import is_real

Range = tuple[float, float]
FULL_SCALE = 32768.0


def parse_options(text: str, known: Mapping[str, type]) -> dict[str, Any]:
    """The options of `--augment jitter=0.05,gain=-6:6`; a range is LOW:HIGH.

    Raises:
        ValueError: another form, or an unknown name.
    """
    options: dict[str, Any] = {}
    for item in text.split(","):
        name, _, value = item.partition("=")
        name = name.strip()
        if name not in known or not value:
            raise ValueError(
                f"--augment must be NAME=VALUE of {', '.join(known)}, separated by commas. "
                f"Received: {item!r}"
            )
        options[name] = _value(name, value, known[name])
    return options


def _value(name: str, text: str, kind: type) -> Any:
    try:
        if kind is tuple:
            low, _, high = text.partition(":")
            return (float(low), float(high or low))
        return kind(text)
    except ValueError:
        raise ValueError(f"--augment: `{name}` must be a number. Received: {text!r}") from None


@dataclass(frozen=True)
class SoundAugmentation:
    """The augmentation of a recording of sound.

    Attributes:
        noise: a folder of sound files, of which a random stretch is added; None: no noise.
        snr: decibels between the signal and the noise, drawn from this range.
        gain: decibels, drawn from this range.
        shift: seconds, drawn from ±shift; what leaves on one side becomes silence on the other.
        copies: of each recording.
        seed: of the draws.

    Raises:
        ValueError: a value out of range.
    """

    noise: str | None = None
    snr: Range = (5.0, 20.0)
    gain: Range = (0.0, 0.0)
    shift: float = 0.0
    copies: int = 1
    seed: int = 0

    NAMES = {  # noqa: RUF012
        "noise": str,
        "snr": tuple,
        "gain": tuple,
        "shift": float,
        "copies": int,
        "seed": int,
    }

    def __post_init__(self) -> None:
        for name in ("snr", "gain"):
            low, high = getattr(self, name)
            if not -120 <= low <= high <= 120:
                raise ValueError(f"`{name}` must be LOW:HIGH in decibels. Received: {low}:{high}")
        if not 0 <= self.shift < math.inf or self.copies < 1 or self.seed < 0:
            raise ValueError(
                "`shift` must be 0 or above, `copies` 1 or above, `seed` 0 or above. Received: "
                f"{self.shift}, {self.copies}, {self.seed}"
            )

    @classmethod
    def parse(cls, text: str) -> "SoundAugmentation":
        """The augmentation of `noise=FOLDER,snr=5:20,gain=-6:6,shift=0.1,copies=2`."""
        return cls(**parse_options(text, cls.NAMES))

    def noises(self, rate: int) -> list[np.ndarray]:
        """The noise at a rate: a float64 array per file of the folder."""
        if self.noise is None:
            return []
        files = read_sound_folder(Path(self.noise), rate)
        return [samples / FULL_SCALE for _, _, samples in files]

    def __call__(
        self, samples: np.ndarray, rate: int, noises: list[np.ndarray], draw: tuple[int, ...]
    ) -> np.ndarray:
        """A disturbed copy (n,) int16 of samples (n,) int16; `draw` numbers the copy."""
        rng = np.random.default_rng((self.seed, *draw))
        x = shifted(samples / FULL_SCALE, round(rng.uniform(-self.shift, self.shift) * rate))
        if noises:
            noise = _stretch(noises[rng.integers(len(noises))], len(x), rng)
            x = x + noise * _noise_factor(x, noise, rng.uniform(*self.snr))
        x = x * 10 ** (rng.uniform(*self.gain) / 20)
        return to_int16(np.clip(x, -1.0, 1.0)[:, None])


def shifted(x: np.ndarray, count: int) -> np.ndarray:
    """X moved later by `count`, or earlier where it is below 0, with zeros in the gap."""
    y, count = np.zeros_like(x), int(np.clip(count, -len(x), len(x)))
    if count >= 0:
        y[count:] = x[: len(x) - count]
    else:
        y[:count] = x[-count:]
    return y


def _stretch(noise: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples of noise from a random position on, repeated where it is too short."""
    return np.take(noise, np.arange(count) + rng.integers(len(noise)), mode="wrap")


def _noise_factor(x: np.ndarray, noise: np.ndarray, snr_db: float) -> float:
    signal, power = float(np.mean(x * x)), float(np.mean(noise * noise))
    return math.sqrt(signal / power * 10 ** (-snr_db / 10)) if signal and power else 0.0


@dataclass(frozen=True)
class SensorAugmentation:
    """The augmentation of the frames of a batch, drawn in each epoch.

    Attributes:
        jitter: standard deviation of noise on each frame, in units of the feature's own.
        scaling: each feature of a sequence is multiplied by exp(±scaling) at most.
        drop: the share of frames that are lost, and the last good one held instead.

    Raises:
        ValueError: a value out of range.
    """

    jitter: float = 0.0
    scaling: float = 0.0
    drop: float = 0.0

    NAMES = {"jitter": float, "scaling": float, "drop": float}  # noqa: RUF012

    def __post_init__(self) -> None:
        for name in self.NAMES:
            value, limit = getattr(self, name), 1.0 if name == "drop" else math.inf
            if not 0 <= value < limit:
                raise ValueError(f"`{name}` must be 0 or above, `drop` below 1. Received: {value}")

    @classmethod
    def parse(cls, text: str) -> "SensorAugmentation":
        """The augmentation of `jitter=0.05,scaling=0.1,drop=0.02`.

        Raises:
            ValueError: another form; for options of sound the way to them.
        """
        sound = {item.partition("=")[0].strip() for item in text.split(",")}
        if known := sorted(sound & set(SoundAugmentation.NAMES)):
            raise ValueError(
                f"--augment: {', '.join(known)} act on sound before its front end: give them to "
                "`kgated data wav --augment`"
            )
        return cls(**parse_options(text, cls.NAMES))

    def __call__(
        self, x: np.ndarray, lengths: np.ndarray, deviation: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Disturbed frames of sequences (B, T, F); padding becomes zeros.

        Args:
            x: the frames.
            lengths: (B,) of which are real.
            deviation: (F,) the standard deviation of each feature.
            rng: of the draws.
        """
        y = x
        if self.drop:
            y = _last_kept(y, rng.random(x.shape[:2]) < self.drop)
        if self.scaling:
            shape = (len(x), 1, x.shape[2])
            y = y * np.exp(rng.uniform(-self.scaling, self.scaling, shape)).astype(np.float32)
        if self.jitter:
            noise = rng.standard_normal(x.shape, np.float32)
            y = y + (self.jitter * deviation).astype(np.float32) * noise
        return np.asarray(y * is_real(lengths, x.shape[1])[..., None], np.float32)


def _last_kept(x: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Frames (B, T, F) with each lost one, but the first, replaced by the last one that is not."""
    lost[:, 0] = False
    sources = np.where(lost, 0, np.arange(x.shape[1]))
    sources = np.maximum.accumulate(sources, axis=1)
    return np.take_along_axis(x, sources[..., None], axis=1)
