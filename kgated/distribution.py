"""One training on several devices, each with its share of every batch.

Keras's own engines do the work: `keras.distribution.DataParallel` on JAX,
`tf.distribute.MirroredStrategy` on TensorFlow. For several machines see docs/training.md.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras


@contextlib.contextmanager
def data_parallel(devices: Sequence[str] | None = None) -> Iterator[int]:
    """Split every batch over devices; build, compile and fit the model in the `with` block.

    Each device holds all weights and takes batch/devices rows; the gradients are averaged, so the
    loss curve is that of one device with the whole batch, up to rounding. Dropout draws other
    masks on each device.

    Args:
        devices: names as `keras.distribution.list_devices()` gives them, such as "cpu:0" or
            "gpu:1". None: all GPUs, or else all of what there is.

    Yields:
        How many devices there are; the batch size must be a multiple of it.

    Raises:
        ValueError: a device that is not there, or a backend without data parallelism in Keras
            (PyTorch: wrap the training by `torch.nn.parallel.DistributedDataParallel` instead).

    Example:
        >>> with data_parallel() as devices:
        ...     model = build()
        ...     model.compile("adam", "sparse_categorical_crossentropy")
        ...     model.fit(x, y, batch_size=32 * devices)
    """
    backend = keras.backend.backend()
    if backend not in ("jax", "tensorflow"):
        raise ValueError(
            f"Keras trains on several devices on the JAX and TensorFlow backends. This is {backend}"
            "; set KERAS_BACKEND, or use torch.nn.parallel.DistributedDataParallel"
        )
    found = available()
    chosen = found if devices is None else [name.lower() for name in devices]
    missing = sorted(set(chosen) - set(found))
    if missing or not chosen:
        raise ValueError(f"`devices` must be among {found}. Received: {devices!r}")
    with _jax(chosen) if backend == "jax" else _tensorflow(chosen):
        yield len(chosen)


def available() -> list[str]:
    """The devices of the accelerator at hand, as "gpu:0" or "cpu:0"."""
    if keras.backend.backend() == "jax":
        return [name.lower() for name in keras.distribution.list_devices()]
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name.removeprefix("/device:").lower() for device in found]


def _jax(devices: list[str]) -> Any:
    return keras.distribution.DataParallel(devices=devices).scope()


def _tensorflow(devices: list[str]) -> Any:
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices).scope()
