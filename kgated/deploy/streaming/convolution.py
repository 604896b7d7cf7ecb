"""Causal convolution: a buffer holds the last frames, and each block is appended to them."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, StreamContext
from kgated.deploy.streaming.unsupported import unsupported


class ConvolutionStep(keras.layers.Layer):
    """A convolution on a block: [x (B, n, F), buffer (B, m, F)] to [(B, n / stride, C), buffer].

    The buffer holds the m = (kernel - 1) * dilation frames before the block, zeros at the start,
    which are the zeros that causal padding puts before a sequence.
    """

    def __init__(self, layer: keras.Layer, name: str) -> None:  # `layer`: without padding
        super().__init__(name=name)
        self.layer = layer
        self.supports_masking = True  # takes a mask without a warning and drops it, as the layer
        self.built = True

    def call(self, inputs: list[Any]) -> list[Any]:
        """One block; see the class."""
        x, buffer = inputs
        frames = ops.concatenate([buffer, x], axis=1)
        return [self.layer(frames), frames[:, -buffer.shape[1] :]]

    def compute_mask(self, inputs: list[Any], _: Any = None) -> list[None]:
        """None."""
        return [None] * len(inputs)


def _without_padding(layer: keras.Layer) -> keras.Layer:
    copy = type(layer).from_config({**layer.get_config(), "padding": "valid", "dtype": "float32"})
    copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return copy


def _convolution(context: StreamContext, layer: keras.Layer, x: Any) -> Any:
    (kernel,), (dilation,) = _as_tuple(layer.kernel_size), _as_tuple(layer.dilation_rate)
    (stride,), left = _as_tuple(layer.strides), context.padding(x)
    # Windows that do not overlap: each is in one block.
    is_disjoint = kernel == stride and dilation == 1 and layer.padding == "valid" and not left
    reach = 0 if is_disjoint else (kernel - 1) * dilation
    _check(layer, reach, left)
    context.require_multiple(x, stride)
    unpadded = context.copy_once(layer, _without_padding)
    if not reach:
        return context.timed(unpadded(x))
    step = ConvolutionStep(unpadded, context.unique(f"{layer.name}_step"))
    name, buffer = context.state(f"{layer.name}_frames", reach, x.shape[-1])
    output, context.outputs[name] = step([x, buffer])
    return context.timed(output)


def _zero_padding(context: StreamContext, layer: keras.layers.ZeroPadding1D, x: Any) -> Any:
    left, right = layer.padding
    if right:
        raise unsupported(
            layer, "frames of zeros after the end need it; build it with `padding=(n, 0)`"
        )
    return context.padded(x, layer, left)


def _check(layer: keras.Layer, reach: int, left: int) -> None:
    if layer.data_format != "channels_last":
        raise unsupported(layer, 'its `data_format` must be "channels_last", time before features')
    padded = layer.padding == "causal" and not left
    if layer.padding == "causal" and left:
        raise unsupported(layer, "it pads by itself: remove the ZeroPadding1D before it")
    if not padded and (left != reach or layer.padding != "valid") and (reach or left):
        raise unsupported(
            layer,
            f'its `padding="{layer.padding}"` looks ahead or shortens the sequence; build it with '
            '`padding="causal"` where it has that, or with `padding="valid"` right after '
            f"`ZeroPadding1D(({reach}, 0))`, or with `strides` equal to `kernel_size`",
        )


def _as_tuple(sizes: Any) -> tuple[int, ...]:
    return tuple(sizes) if isinstance(sizes, tuple | list) else (int(sizes),)


HANDLERS: Handlers = {
    keras.layers.Conv1D: Handler(_convolution, reads_padding=True),
    keras.layers.DepthwiseConv1D: Handler(_convolution, reads_padding=True),
    keras.layers.SeparableConv1D: Handler(_convolution, reads_padding=True),
    keras.layers.ZeroPadding1D: Handler(_zero_padding),
}
