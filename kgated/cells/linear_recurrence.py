"""The recurrence of cells whose gates do not depend on the state, over all time steps at once."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kgated.steps import Array

MAX_DOUBLINGS = 31  # of the distance; XLA needs a limit


def linear_recurrence(decay: Array, x: Array) -> Array:
    """`h_t = decay_t∘h_{t-1} + x_t` for all t, from h_0 = 0.

    An associative scan computes it in `log2 T` passes (Blelloch 1990; Martin & Cundy 2018). JAX on
    a CPU runs one loop in place of it, since the passes are limited by the memory there. TensorFlow
    doubles the distance in each pass, which a number of frames that is not known allows.

    Args:
        decay: (B, T, U).
        x: (B, T, U).

    Returns:
        (B, T, U), computed in float32 at least.
    """
    dtype = keras.backend.standardize_dtype(x.dtype)
    precision = keras.backend.result_type(dtype, "float32")
    scan = _associative_scan
    if keras.backend.backend() == "tensorflow":
        scan = _doubling_scan
    elif _on_jax_cpu():
        scan = _loop
    return ops.cast(scan(ops.cast(decay, precision), ops.cast(x, precision)), dtype)


def _on_jax_cpu() -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "cpu"


def _associative_scan(decay: Array, x: Array) -> Array:
    def compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return ops.associative_scan(compose, (decay, x), axis=1)[1]


def _doubling_scan(decay: Array, x: Array) -> Array:
    frames, positions = x.shape[1], ops.reshape(ops.arange(ops.shape(x)[1]), (1, -1, 1))

    def double(distance: Any, decay: Array, x: Array) -> tuple[Any, Array, Array]:
        reached = positions >= distance
        earlier = [ops.roll(a, distance, axis=1) for a in (decay, x)]
        x = x + decay * ops.where(reached, earlier[1], ops.zeros_like(x))
        decay = decay * ops.where(reached, earlier[0], ops.ones_like(decay))
        return 2 * distance, decay, x

    if frames is None:
        return _while_within(ops.shape(x)[1], double, decay, x)
    distance = 1
    while distance < frames:
        distance, decay, x = double(distance, decay, x)
    return x


def _while_within(frames: Any, double: Callable[..., Any], decay: Array, x: Array) -> Array:
    _, _, x = ops.while_loop(
        lambda distance, *_: distance < frames,
        double,
        (ops.ones((), "int32"), decay, x),
        maximum_iterations=MAX_DOUBLINGS,
    )
    return x


def _loop(decay: Array, x: Array) -> Array:
    swapped = [ops.swapaxes(a, 0, 1) for a in (decay, x)]
    return ops.swapaxes(_time_major_loop(*swapped), 0, 1)


def _run(decay: Array, x: Array, reverse: bool = False) -> Array:
    def step(h: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        h = now[0] * h + now[1]
        return h, h

    return ops.scan(step, ops.zeros_like(x[0]), (decay, x), reverse=reverse)[1]


@ops.custom_gradient
def _time_major_loop(decay: Array, x: Array) -> Array:
    """The loop, and its gradient as the same loop backwards: JAX's own keeps more per step."""
    h = _run(decay, x)

    def gradient(*args: Array, upstream: Array | None = None) -> tuple[Array, Array]:
        upstream = args[0] if upstream is None else upstream
        later = ops.concatenate([decay[1:], ops.zeros_like(decay[:1])])
        of_x = _run(later, upstream, reverse=True)
        before = ops.concatenate([ops.zeros_like(h[:1]), h[:-1]])
        return of_x * before, of_x

    return h, gradient
