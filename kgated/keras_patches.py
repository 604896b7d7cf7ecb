"""Corrections of what Keras computes on a backend."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

FLOAT32_TINY = 1.2e-38  # the smallest normal number


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


@contextlib.contextmanager
def finite_normalization() -> Iterator[None]:
    """Scale vectors to length 1 without the reciprocal of 0, which LiteRT's RSQRT has no number for.

    Keras limits 1/√0 afterwards; the same limit holds for the sum of squares before.
    """
    from keras.src.ops import nn

    keras_normalize = nn._normalize

    def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
        smallest = (keras.config.epsilon() if epsilon is None else epsilon) ** 2
        if order != 2 or len(x.shape) == 0 or smallest < FLOAT32_TINY:
            return keras_normalize(x, axis=axis, order=order, epsilon=epsilon)
        squares = keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=True)
        return x * keras.ops.rsqrt(keras.ops.maximum(squares, smallest))

    nn._normalize = normalize
    try:
        yield
    finally:
        nn._normalize = keras_normalize
