"""Batches of sequences to train on, shuffled and augmented in each epoch."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData

from kgated.data import SensorAugmentation, is_real, real_frames
from kgated.data.moments import feature_moments

Array = np.ndarray


def number(name: str, value: Any) -> Any:
    """Return the value of an argument; raise a TypeError with its name if it is not a number."""
    # A bool counts as an integer in Python.
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"`{name}` must be a number. Received: {value!r}")
    return value


def integer(name: str, value: Any) -> Any:
    """Return the value of an argument; raise a TypeError with its name if it is not an integer."""
    if not isinstance(number(name, value), Integral):
        raise TypeError(f"`{name}` must be a whole number. Received: {value!r}")
    return value


@dataclass(frozen=True)
class Disturbance:
    """The augmentation of the training data.

    Attributes:
        stretch: each sequence is stretched in time by a factor of at most exp(±stretch), up to T
            frames; 0: not at all.
        noise: standard deviation of Gaussian noise on each frame, in units of that of the feature.
        mix: both parameters of the Beta distribution of mixup's weights (Zhang et al. 2018), which
            mixes sequences and their targets in pairs; 0: not at all.

    Raises:
        TypeError: a value that is not a number.
        ValueError: a value below 0.
    """

    stretch: float = 0.3
    noise: float = 0.6
    mix: float = 0.4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= number(name, value) < float("inf"):
                raise ValueError(f"`{name}` must be 0 or above. Received: {value!r}")


class Batches(keras.utils.PyDataset):
    """Each epoch's batches: x (B, T, F) float32 padded with zeros, targets (B, classes).

    The object has its own random generator, so that a seed gives the same batches everywhere.

    Args:
        data: frames (N, T, F) float32.
        targets: (N, classes) float32.
        batch_size: B; the last batch of the N sequences may be smaller.
        disturbance: the augmentation of the sequences.
        seed: of the order and the augmentation.
        augmentation: what is done to the frames beside it.
    """

    def __init__(
        self,
        data: SequenceData,
        targets: Array,
        batch_size: int,
        disturbance: Disturbance,
        seed: int = 0,
        augmentation: SensorAugmentation | None = None,
    ) -> None:
        super().__init__()
        self.data, self.targets = data, targets
        self.batch_size, self.disturbance = batch_size, disturbance
        self.augmentation = augmentation
        self.deviation = np.sqrt(feature_moments(real_frames(data))[1])
        self.scale = disturbance.noise * self.deviation
        self.rng = np.random.default_rng(seed)
        self.batches = self._draw()

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        return self.batches[index]

    def on_epoch_end(self) -> None:
        """Draw the next epoch."""
        self.batches = self._draw()

    def _draw(self) -> list[tuple[Array, Array]]:
        lengths = stretched(self.data.lengths, self.data.x.shape[1], self.disturbance, self.rng)
        x, y = self._mixed(lengths)
        x += self.scale * self.rng.standard_normal(x.shape, np.float32)
        x *= is_real(lengths, x.shape[1])[..., None]
        if self.augmentation is not None:
            x = self.augmentation(x, lengths, self.deviation, self.rng)
        order = self.rng.permutation(len(x))
        cuts = range(self.batch_size, len(x), self.batch_size)
        return [(x[rows], y[rows]) for rows in np.split(order, list(cuts))]

    def _mixed(self, lengths: Array) -> tuple[Array, Array]:
        x = self._resampled(np.arange(len(self.data)), lengths)
        if not self.disturbance.mix:
            return x, self.targets
        partners = self.rng.permutation(len(x))
        x_partners = self._resampled(partners, lengths)
        mix = self.disturbance.mix
        fractions = self.rng.beta(mix, mix, len(x)).astype(np.float32)
        y = self.targets + fractions[:, None] * (self.targets[partners] - self.targets)
        return x + fractions[:, None, None] * (x_partners - x), y

    def _resampled(self, rows: Array, wanted: Array) -> Array:
        x, lengths = self.data.x[rows], self.data.lengths[rows]
        return resampled(x, lengths, wanted, x.shape[1])


def stretched(
    lengths: Array, max_frames: int, disturbance: Disturbance, rng: np.random.Generator
) -> Array:
    """Draw the number of frames (N,) of each sequence after resampling, 1 to `max_frames`."""
    spread = disturbance.stretch
    factor = np.exp(rng.uniform(-spread, spread, len(lengths)))
    return np.clip(np.rint(lengths * factor).astype(np.int64), 1, max_frames)


def resampled(x: Array, lengths: Array, wanted: Array, steps: int | None = None) -> Array:
    """Resample sequences to another number of frames, by linear interpolation over time.

    Args:
        x: (N, T, F), of which `lengths` frames are real.
        lengths: (N,), in 1..T.
        wanted: (N,), the number of frames of each sequence after resampling.
        steps: frames of the result; None: the maximum of `wanted`.

    Returns:
        (N, steps, F), float32, padded with zeros.
    """
    time = np.arange(wanted.max() if steps is None else steps)
    last = (lengths - 1)[:, None]
    position = np.minimum(time * (last / np.maximum(wanted - 1, 1)[:, None]), last)
    left = position.astype(np.int64)
    weight = (position - left).astype(np.float32)[..., None]
    row = np.arange(len(x))[:, None]
    y = x[row, left] * (1.0 - weight) + x[row, np.minimum(left + 1, last)] * weight
    return y * is_real(wanted, len(time))[..., None]
