"""Corrections of what Keras computes on a backend."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def exact_addition() -> Iterator[None]:
    """On TensorFlow, add tensors by its own addition, without Keras's shortcut for a bias.

    Keras takes an operand (1, T, 1) for a bias, and adds it to the wrong axis of (1, T, F) where T
    is F.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from keras.src import backend

    keras_add = backend.numpy.add

    def add(x1: Any, x2: Any) -> Any:
        both = tf.is_tensor(x1) and tf.is_tensor(x2) and x1.dtype == x2.dtype
        return tf.add(x1, x2) if both and len(x2.shape) > 1 else keras_add(x1, x2)

    backend.numpy.add = add
    try:
        yield
    finally:
        backend.numpy.add = keras_add
