"""One training on several devices, each of which computes a part of every batch.

Keras's own engines do the work: `keras.distribution.DataParallel` on JAX,
`tf.distribute.MirroredStrategy` on TensorFlow. For several machines see docs/training.md.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kgated.keras_internals.graph import wrap_clipping


@contextlib.contextmanager
def data_parallel(devices: Sequence[str] | None = None) -> Iterator[int]:
    """Split every batch over devices; build, compile and fit the model in the `with` block.

    Each device holds all weights and takes batch/devices rows; the gradients are averaged, so the
    loss curve is that of one device with the whole batch, up to rounding. An optimizer that clips
    has to go through `clip_after_sum`. Dropout draws other masks on each device.

    Args:
        devices: names as `keras.distribution.list_devices()` gives them, such as "cpu:0" or
            "gpu:1". None: all GPUs, or all CPUs where there is no GPU.

    Yields:
        The number of devices; the batch size must be a multiple of it.

    Raises:
        ValueError: a device that is not there, or a backend without data parallelism in Keras
            (PyTorch: wrap the training by `torch.nn.parallel.DistributedDataParallel` instead).

    Example:
        >>> with data_parallel() as devices:
        ...     model = build()
        ...     optimizer = clip_after_sum(keras.optimizers.Adam(global_clipnorm=1.0))
        ...     model.compile(optimizer, "sparse_categorical_crossentropy")
        ...     model.fit(x, y, batch_size=32 * devices)
    """
    backend = keras.backend.backend()
    if backend not in ("jax", "tensorflow"):
        raise ValueError(
            f"Keras trains on several devices on the JAX and TensorFlow backends. This is {backend}"
            "; set KERAS_BACKEND, or use torch.nn.parallel.DistributedDataParallel"
        )
    available_devices = available()
    chosen = available_devices if devices is None else [name.lower() for name in devices]
    missing = sorted(set(chosen) - set(available_devices))
    if missing or not chosen:
        raise ValueError(f"`devices` must be among {available_devices}. Received: {devices!r}")
    with _jax(chosen) if backend == "jax" else _tensorflow(chosen):
        yield len(chosen)


def clip_after_sum(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Make an optimizer clip the gradient of the whole batch instead of each device's part of it.

    Under `tf.distribute` Keras's optimizers clip before they sum over the devices, so that training
    on several devices differs from training on one. On one device, and on JAX, nothing changes.

    Args:
        optimizer: with `clipnorm`, `clipvalue` or `global_clipnorm`; changed.

    Returns:
        The optimizer.
    """
    if keras.backend.backend() != "tensorflow":
        return optimizer
    import tensorflow as tf

    def after_sum(clip: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def sum_and_clip(gradients: list[Any]) -> list[Any]:
            context = tf.distribute.get_replica_context()
            count = context.num_replicas_in_sync if context else 1
            if count == 1:
                return clip(gradients)
            # The optimizer sums over the devices after this: each returns its part of the sum.
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
            return [gradient / count for gradient in clip(total)]

        return sum_and_clip

    wrap_clipping(optimizer, after_sum)
    return optimizer


def available() -> list[str]:
    """The names of the GPUs, or of the CPUs where there is none, as "gpu:0" or "cpu:0"."""
    if keras.backend.backend() == "jax":
        return [name.lower() for name in keras.distribution.list_devices()]
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:").lower() for device in devices]


def _jax(devices: list[str]) -> Any:
    return keras.distribution.DataParallel(devices=devices).scope()


def _tensorflow(devices: list[str]) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices).scope()
