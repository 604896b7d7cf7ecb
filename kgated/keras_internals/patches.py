"""Corrections of what Keras computes on a backend."""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kgated.builtin_functions import OF_NUMBERS, erf

FLOAT32_TINY = 1.2e-38  # the smallest normal number


@contextlib.contextmanager
def float32_layers() -> Iterator[None]:
    """Make layers in float32 meanwhile, whatever dtype policy and float type the user has set."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    if (policy.name, floatx) == ("float32", "float32"):
        yield
        return
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


@contextlib.contextmanager
def exact_addition() -> Iterator[None]:
    """Add tensors by TensorFlow's addition, without Keras's shortcut for a bias.

    Keras takes an operand (1, T, 1) for a bias, and adds it to the wrong axis of (1, T, F) where T
    is F. An operand of one axis of features is a bias, which the converter fuses with a product.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from keras.src import backend

    keras_add = backend.numpy.add

    def add(x1: Any, x2: Any) -> Any:
        both = tf.is_tensor(x1) and tf.is_tensor(x2) and x1.dtype == x2.dtype
        if not both or len(x2.shape) < 2:
            return keras_add(x1, x2)
        if _is_bias(x1, x2):
            return tf.nn.bias_add(x1, tf.reshape(x2, (-1,)))
        return tf.add(x1, x2)

    backend.numpy.add = add
    try:
        yield
    finally:
        backend.numpy.add = keras_add


def _is_bias(x: Any, y: Any) -> bool:
    """Whether y is (1, ..., 1, F), with no more axes than x (..., F)."""
    *leading, features = y.shape
    return len(y.shape) <= len(x.shape) and set(leading) == {1} and features == x.shape[-1]


@contextlib.contextmanager
def builtin_operators() -> Iterator[None]:
    """Replace functions of Keras on TensorFlow by ones with builtin operators of `.tflite` files.

    Vectors are scaled to length 1 without the reciprocal of 0, for which LiteRT's RSQRT has no
    number; windows over three axes are taken over two and one; a short-time Fourier transform is a
    convolution; the largest of some numbers is found without a look at the bits of 0 and -0. Layers
    may have names that TensorFlow takes for no scope, such as one with a blank.
    """
    from keras.src.backend.tensorflow import core as tensorflow_core
    from keras.src.backend.tensorflow import math as tensorflow_math
    from keras.src.backend.tensorflow import nn as tensorflow_nn
    from keras.src.backend.tensorflow import numpy as tensorflow_numpy
    from keras.src.ops import nn

    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(tensorflow_core.name_scope, "__init__", _valid_scope))
        stack.enter_context(_replaced(nn, "_normalize", _finite_normalize))
        stack.enter_context(_replaced(tensorflow_math, "stft", _convolutional_stft))
        stack.enter_context(_replaced(tensorflow_math, "erf", lambda _: erf))
        for name, function in OF_NUMBERS.items():
            stack.enter_context(_replaced(tensorflow_numpy, name, _always(function)))
        for name in ("argmax", "argmin"):
            stack.enter_context(_replaced(tensorflow_numpy, name, _plain_index))
        for name in ("max_pool", "average_pool"):
            stack.enter_context(_replaced(tensorflow_nn, name, _pool_by_axes))
        for name in ("adaptive_max_pool", "adaptive_average_pool"):
            stack.enter_context(_replaced(tensorflow_nn, name, _adaptive_pool_by_axes))
        yield


def _valid_scope(keras_init: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, name: str, **kwargs: Any) -> None:
        keras_init(self, re.sub(r"[^\w.-]", "_", name, flags=re.ASCII), **kwargs)

    return init


@contextlib.contextmanager
def exact_shapes() -> Iterator[None]:
    """Let layers whose symbolic results have another shape than their real ones be traced.

    Those are EinsumDense, which knows no length of time, and layers with the activation `glu`,
    which gives half of the features.
    """
    with contextlib.ExitStack() as stack:
        for kind in (keras.layers.Activation, keras.layers.Dense, keras.layers.EinsumDense):
            stack.enter_context(_replaced(kind, "compute_output_spec", _traced_spec))
        yield


def _traced_spec(keras_spec: Callable[..., Any]) -> Callable[..., Any]:
    from keras.src.backend import compute_output_spec

    def spec(layer: Any, *args: Any, **kwargs: Any) -> Any:
        halves = getattr(layer, "activation", None) is keras.activations.glu
        if halves or isinstance(layer, keras.layers.EinsumDense):
            return compute_output_spec(layer.call, *args, **kwargs)
        return keras_spec(layer, *args, **kwargs)

    return spec


@contextlib.contextmanager
def _replaced(owner: Any, name: str, replace: Callable[[Any], Any]) -> Iterator[None]:
    """With `replace(function)` in place of a function of a module or class."""
    original, is_own = getattr(owner, name), name in vars(owner)
    setattr(owner, name, replace(original))
    try:
        yield
    finally:
        if is_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


def _always(function: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda _: function


def _plain_index(keras_index: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow's argmax or argmin, which takes 0 and -0 for equal."""

    def index(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        import tensorflow as tf

        if axis is None or len(x.shape) == 0:
            return keras_index(x, axis=axis, keepdims=keepdims)
        y = getattr(tf, keras_index.__name__)(x, axis=axis, output_type="int32")
        return tf.expand_dims(y, axis) if keepdims else y

    return index


def _finite_normalize(keras_normalize: Callable[..., Any]) -> Callable[..., Any]:
    """Keras limits 1/√s; the same limit holds for the sum of squares s before."""

    def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Any:
        smallest = (keras.config.epsilon() if epsilon is None else epsilon) ** 2
        if order != 2 or len(x.shape) == 0 or smallest < FLOAT32_TINY:
            return keras_normalize(x, axis=axis, order=order, epsilon=epsilon)
        squares = keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=True)
        return x * keras.ops.rsqrt(keras.ops.maximum(squares, smallest))

    return normalize


def _pool_by_axes(keras_pool: Callable[..., Any]) -> Callable[..., Any]:
    """Windows over (T, H, W) are windows over (H, W), and of those over T."""

    def pool(
        inputs: Any,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
    ) -> Any:
        if not _is_volume(inputs, data_format):
            return keras_pool(inputs, pool_size, strides, padding, data_format)
        depth, *image = _triple(pool_size)
        step, *steps = _triple(pool_size if strides is None else strides)
        return _by_axes(
            inputs,
            lambda x: keras_pool(x, image, steps, padding, data_format),
            lambda x: keras_pool(x, (depth, 1), (step, 1), padding, data_format),
        )

    return pool


def _adaptive_pool_by_axes(keras_pool: Callable[..., Any]) -> Callable[..., Any]:
    def pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
        if not _is_volume(inputs, data_format):
            return keras_pool(inputs, output_size, data_format)
        depth, *image = _triple(output_size)
        return _by_axes(
            inputs,
            lambda x: keras_pool(x, tuple(image), data_format),
            lambda x: keras_pool(x, (depth, x.shape[2]), data_format),
        )

    return pool


def _is_volume(x: Any, data_format: str | None) -> bool:
    """Whether a tensor is (T, H, W, C) for each row of a batch, of a fixed shape."""
    order = keras.config.image_data_format() if data_format is None else data_format
    return len(x.shape) == 5 and order == "channels_last" and None not in x.shape


def _triple(sizes: Any) -> tuple[int, ...]:
    return (sizes,) * 3 if isinstance(sizes, int) else tuple(sizes)


def _by_axes(inputs: Any, over_image: Callable[..., Any], over_time: Callable[..., Any]) -> Any:
    """A function of (B·T, H, W, C), and of its results a function of (B, T, H·W, C)."""
    batch, frames, *image, channels = inputs.shape
    x = over_image(keras.ops.reshape(inputs, (batch * frames, *image, channels)))
    _, height, width, _ = x.shape
    x = over_time(keras.ops.reshape(x, (batch, frames, height * width, channels)))
    return keras.ops.reshape(x, (batch, x.shape[1], height, width, channels))


def _convolutional_stft(keras_stft: Callable[..., Any]) -> Callable[..., Any]:
    def stft(
        x: Any,
        sequence_length: int,
        sequence_stride: int,
        fft_length: int,
        window: Any = "hann",
        center: bool = True,
    ) -> Any:
        import tensorflow as tf

        if None in x.shape or x.dtype != tf.float32:
            return keras_stft(x, sequence_length, sequence_stride, fft_length, window, center)
        if center:
            half = fft_length // 2
            x = tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[half, half]], mode="reflect")
        kernel = _fourier_kernel(sequence_length, fft_length, window)
        rows = tf.reshape(x, (-1, x.shape[-1], 1))
        y = tf.nn.conv1d(rows, kernel, sequence_stride, "VALID")
        y = tf.reshape(y, (*x.shape[:-1], y.shape[1], y.shape[2]))
        return tf.split(y, 2, axis=-1)

    return stft


def _fourier_kernel(length: int, fft_length: int, window: Any) -> np.ndarray:
    """(fft_length, 1, 2 * (fft_length // 2 + 1)): cosines and negative sines, in a window."""
    angle = 2 * np.pi * np.arange(length) / length
    shapes = {"hann": 0.5 - 0.5 * np.cos(angle), "hamming": 0.54 - 0.46 * np.cos(angle)}
    weights = shapes[window] if isinstance(window, str) else window
    weights = np.ones(length) if weights is None else np.asarray(weights, np.float64)
    left = (fft_length - length) // 2
    weights = np.pad(weights, (left, fft_length - length - left))
    turns = np.outer(np.arange(fft_length), np.arange(fft_length // 2 + 1)) % fft_length
    phases = 2 * np.pi * turns / fft_length
    waves = np.concatenate([np.cos(phases), -np.sin(phases)], axis=1)
    return (weights[:, None] * waves)[:, None].astype(np.float32)
