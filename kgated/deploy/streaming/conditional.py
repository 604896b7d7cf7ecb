"""Layers that act on each frame alone where their options say so."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, StreamContext
from kgated.deploy.streaming.unsupported import unsupported
from kgated.framewise import einsum_keeps_frames, index_of_last_frame, operation_keeps_frames


def _einsum(context: StreamContext, layer: keras.layers.EinsumDense, x: Any) -> Any:
    if not einsum_keeps_frames(layer, len(x.shape)):
        raise unsupported(
            layer,
            f'its `equation="{layer.equation}"` may combine frames, or its bias may have an axis '
            'of time; build it with an equation such as "...x,xy->...y"',
        )
    return context.timed(layer(x))


def _operation(context: StreamContext, operation: Any, *args: Any) -> Any:
    """An index, or a product of matrices."""
    if context.has_time(args[0]) and operation_keeps_frames(operation, *args):
        return context.timed(operation(*args))
    if type(operation).__name__ == "GetItem":
        if index_of_last_frame(args[1]):
            return operation(*args)  # of the block, and so of the sequence up to now
        raise unsupported(operation)
    return context.by_trial(operation, *args)


def _spectral_normalization(
    context: StreamContext, layer: keras.layers.SpectralNormalization, x: Any, **_: Any
) -> Any:
    return context.call_layer(layer.layer, x)  # it changes the weights in training alone


def _encoding(context: StreamContext, layer: keras.Layer, x: Any) -> Any:
    """A `Discretization` or `CategoryEncoding`."""
    is_scalar = len(x.shape) == 2
    if is_scalar and layer.output_mode not in ("int", "one_hot"):
        raise unsupported(
            layer,
            f'its `output_mode="{layer.output_mode}"` counts over the frames; build it with '
            '`output_mode="one_hot"`',
        )
    if isinstance(layer, keras.layers.CategoryEncoding):
        size = layer.num_tokens
        context.tokens[id(x)] = min(size, context.tokens.get(id(x), size))
    y = layer(x)
    drops_time = is_scalar and layer.output_mode == "one_hot" and x.shape[1] == 1
    return context.timed(ops.expand_dims(y, 1) if drops_time else y)


HANDLERS: Handlers = {
    keras.layers.EinsumDense: Handler(_einsum),
    keras.layers.SpectralNormalization: Handler(_spectral_normalization, reads_padding=True),
    keras.layers.Discretization: Handler(_encoding),
    keras.layers.CategoryEncoding: Handler(_encoding, reads_tokens=True),
    "GetItem": Handler(_operation),
    "Matmul": Handler(_operation),
}
