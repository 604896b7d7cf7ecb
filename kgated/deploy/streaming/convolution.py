"""Causal convolution: the last frames stay in a buffer, and each block goes behind them."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, Walk
from kgated.deploy.streaming.unsupported import refusal


class ConvolutionStep(keras.layers.Layer):
    """A convolution on a block: [x (1, n, F), buffer (1, m, F)] to [(1, n / stride, C), buffer].

    The buffer holds the m = (kernel - 1) * dilation frames before the block, zeros at the start,
    which are the zeros that causal padding puts before a sequence.
    """

    def __init__(self, layer: keras.Layer, name: str) -> None:
        super().__init__(name=name)
        self.layer = _without_padding(layer)
        self.supports_masking = True  # takes it in silence and drops it, as the layer does
        self.built = True

    def call(self, inputs: list[Any]) -> list[Any]:
        """One block; see the class."""
        x, buffer = inputs
        joined = ops.concatenate([buffer, x], axis=1)
        return [self.layer(joined), joined[:, -buffer.shape[1] :]]

    def compute_mask(self, inputs: list[Any], _: Any = None) -> list[None]:
        """None."""
        return [None] * len(inputs)


def _without_padding(layer: keras.Layer) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "padding": "valid", "dtype": "float32"})
    copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return copy


def _convolution(walk: Walk, layer: keras.Layer, x: Any) -> Any:
    (kernel,), (dilation,) = _one(layer.kernel_size), _one(layer.dilation_rate)
    reach = (kernel - 1) * dilation
    _check(layer, reach, walk.padding(x))
    walk.require_multiple(x, _one(layer.strides)[0])
    if not reach:
        return walk.timed(_without_padding(layer)(x))
    step = ConvolutionStep(layer, walk.unique(f"{layer.name}_step"))
    name, buffer = walk.state(f"{layer.name}_frames", reach, x.shape[-1])
    output, walk.outputs[name] = step([x, buffer])
    return walk.timed(output)


def _zero_padding(walk: Walk, layer: keras.layers.ZeroPadding1D, x: Any) -> Any:
    left, right = layer.padding
    if right:
        raise refusal(
            layer, "frames of zeros after the end need it; build it with `padding=(n, 0)`"
        )
    return walk.padded(x, layer, left)


def _check(layer: keras.Layer, reach: int, left: int) -> None:
    if layer.data_format != "channels_last":
        raise refusal(layer, 'its `data_format` must be "channels_last", time before features')
    padded = layer.padding == "causal" and not left
    if layer.padding == "causal" and left:
        raise refusal(layer, "it pads by itself: take the ZeroPadding1D before it away")
    if not padded and (left != reach or layer.padding != "valid") and (reach or left):
        raise refusal(
            layer,
            f'its `padding="{layer.padding}"` looks ahead or shortens the sequence; build it with '
            '`padding="causal"` where it has that, or with `padding="valid"` right after '
            f"`ZeroPadding1D(({reach}, 0))`",
        )


def _one(sizes: Any) -> tuple[int, ...]:
    return tuple(sizes) if isinstance(sizes, tuple | list) else (int(sizes),)


HANDLERS: Handlers = {
    keras.layers.Conv1D: Handler(_convolution, reads_padding=True),
    keras.layers.DepthwiseConv1D: Handler(_convolution, reads_padding=True),
    keras.layers.SeparableConv1D: Handler(_convolution, reads_padding=True),
    keras.layers.ZeroPadding1D: Handler(_zero_padding),
}
