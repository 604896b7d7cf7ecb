"""Pooling inside a block, and over the sequence up to now as running statistics."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, StreamContext, TimeAxis
from kgated.deploy.streaming.unsupported import unsupported
from kgated.keras_internals.graph import mask_of


class RunningAverage(keras.layers.Layer):
    """[x (B, n, F), mean (B, F), count (B, 1)] to [mean, mean, count] with the block included.

    Masked frames do not count. Before the first frame that does, the mean is 0, where Keras divides
    by zero. The state is a mean and not a growing sum, so that no precision is lost over days.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.built = True

    def call(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """One block; see the class."""
        x, mean, count = inputs
        change = x - ops.expand_dims(mean, 1)
        if mask is None or mask[0] is None:
            count = count + float(x.shape[1])
        else:
            real = ops.cast(ops.expand_dims(mask[0], -1), x.dtype)
            change = change * real
            count = count + ops.sum(real, axis=1)
        mean = mean + ops.sum(change, axis=1) / ops.maximum(count, 1.0)
        return [mean, mean, count]

    def compute_mask(self, inputs: list[Any], _: Any = None) -> list[None]:
        """None."""
        return [None] * len(inputs)


class RunningMax(keras.layers.Layer):
    """[x (B, n, F), largest (B, F), started (B, 1)] to [largest, largest, 1] of all frames.

    Masked frames count, as in Keras's layer. `started` is 0 before the first block, when `largest`
    has no meaning yet.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.built = True

    def call(self, inputs: list[Any], mask: list[Any] | None = None) -> list[Any]:
        """One block; see the class."""
        x, extreme, started = inputs
        now = self.extreme_of_block(x)
        extreme = ops.where(started > 0.5, self.extreme_of_both(extreme, now), now)
        return [extreme, extreme, ops.maximum(started, 1.0)]

    def extreme_of_block(self, x: Any) -> Any:
        """The largest numbers (B, F) of a block (B, n, F)."""
        return ops.max(x, axis=1)

    def extreme_of_both(self, x: Any, y: Any) -> Any:
        """The larger numbers of two tensors."""
        return ops.maximum(x, y)

    def compute_mask(self, inputs: list[Any], _: Any = None) -> list[None]:
        """None."""
        return [None] * len(inputs)


def _average(context: StreamContext, layer: keras.Layer, x: Any, mask: Any = None, **_: Any) -> Any:
    context.counters.append(layer.name)
    step = RunningAverage(context.unique(f"{layer.name}_step"))
    return _running(context, layer, x, mask, step, "mean", "count")


def _maximum(context: StreamContext, layer: keras.Layer, x: Any, **_: Any) -> Any:
    step = RunningMax(context.unique(f"{layer.name}_step"))
    return _running(context, layer, x, None, step, "max", "started")


def _running(
    context: StreamContext, layer: keras.Layer, x: Any, mask: Any, step: keras.Layer, *names: str
) -> Any:
    _check_format(layer)
    mask = mask_of(x) if mask is None else mask
    sizes = zip(names, (x.shape[-1], 1), strict=True)
    states = [context.state(f"{layer.name}_{name}", size) for name, size in sizes]
    results = step([x, *(value for _, value in states)], mask=[mask, None, None])
    context.outputs.update(zip((name for name, _ in states), results[1:], strict=True))
    if not layer.keepdims:
        return results[0]
    return TimeAxis((1, x.shape[-1]), context.unique(f"{layer.name}_kept"))(results[0])


def _block_pooling(context: StreamContext, layer: keras.Layer, x: Any) -> Any:
    _check_format(layer)
    (size,), (stride,) = layer.pool_size, layer.strides
    if size != stride or layer.padding != "valid":
        raise unsupported(
            layer,
            f"its windows overlap, have gaps or look ahead (`pool_size={size}`, "
            f'`strides={stride}`, `padding="{layer.padding}"`); build it with equal `pool_size` '
            'and `strides` and `padding="valid"`',
        )
    context.require_multiple(x, size)
    return context.timed(layer(x))


def _check_format(layer: keras.Layer) -> None:
    if layer.data_format != "channels_last":
        raise unsupported(
            layer, 'time is not its second axis; build it with `data_format="channels_last"`'
        )


HANDLERS: Handlers = {
    keras.layers.MaxPooling1D: Handler(_block_pooling),
    keras.layers.AveragePooling1D: Handler(_block_pooling),
    keras.layers.GlobalAveragePooling1D: Handler(_average),
    keras.layers.GlobalMaxPooling1D: Handler(_maximum),
}
