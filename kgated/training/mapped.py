"""Batches of sequences that are read from their file, one batch at a time."""

import keras
import numpy as np
from kgated_edge.evaluation.dataset import SequenceData
from kgated_edge.evaluation.file_array import FileArray

from kgated.data import SensorAugmentation, is_real
from kgated.training.batches import Array, Disturbance, resampled, stretched

QUEUE = 2  # batches that Keras prefetches


class MappedBatches(keras.utils.PyDataset):
    """As `Batches`, for frames in a file: each batch is read and augmented when it is requested.

    Args:
        data: frames (N, T, F) float32 in a `FileArray`.
        targets: (N, classes) float32.
        batch_size: B; the last batch may be smaller.
        disturbance: the augmentation of the sequences; mixup is within a batch.
        seed: of the order and the augmentation, together with the epoch's number.
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
        super().__init__(max_queue_size=QUEUE)
        self.data, self.targets, self.seed = data, targets, seed
        self.batch_size, self.disturbance = batch_size, disturbance
        self.augmentation = augmentation
        self.deviation = moments(data)[1]
        self.epoch = 0
        self._shuffle()

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, index))
        x, real = self.data.x[rows], self.data.lengths[rows]
        lengths = stretched(real, x.shape[1], self.disturbance, rng)
        if (lengths != real).any():
            x = resampled(x, real, lengths, x.shape[1])
        y = self.targets[rows]
        if mix := self.disturbance.mix:
            partners = rng.permutation(len(rows))
            weights = rng.beta(mix, mix, len(rows)).astype(np.float32)
            x += weights[:, None, None] * (x[partners] - x)
            y = y + weights[:, None] * (y[partners] - y)
        if self.disturbance.noise:
            scale = (self.disturbance.noise * self.deviation).astype(np.float32)
            x += scale * rng.standard_normal(x.shape, np.float32)
        x *= is_real(lengths, x.shape[1])[..., None]
        if self.augmentation is not None:
            x = self.augmentation(x, lengths, self.deviation, rng)
        return x.astype(np.float32, copy=False), y

    def on_epoch_end(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        self.order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.data))


class MappedSequences(keras.utils.PyDataset):
    """The sequences of a file in their order, padded with zeros, for validation."""

    def __init__(self, data: SequenceData, targets: Array, batch_size: int) -> None:
        super().__init__(max_queue_size=QUEUE)
        self.data, self.targets, self.batch_size = data, targets, batch_size

    def __len__(self) -> int:
        return -(-len(self.data) // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rows = np.arange(len(self.data))[index * self.batch_size : (index + 1) * self.batch_size]
        real = is_real(self.data.lengths[rows], self.data.x.shape[1])[..., None]
        return np.where(real, self.data.x[rows], np.float32(0)), self.targets[rows]


def moments(data: SequenceData) -> tuple[Array, Array]:
    """Mean and standard deviation (F,) of the real frames, read sequence by sequence."""
    total, square, count = 0.0, 0.0, 0
    for n in range(len(data)):
        x = data.sequence(n).astype(np.float64)
        total, square, count = total + x.sum(axis=0), square + (x * x).sum(axis=0), count + len(x)
    mean = np.asarray(total / count)
    return mean, np.sqrt(np.maximum(square / count - mean * mean, 0.0))


def is_mapped(data: SequenceData) -> bool:
    """Whether the frames are read from a file."""
    return isinstance(data.x, FileArray)


def frames_for_scaling(data: SequenceData) -> Array:
    """Two frames (2, F) float32 with the mean and the variance of all real frames."""
    mean, deviation = moments(data)
    return np.stack([mean - deviation, mean + deviation]).astype(np.float32)
