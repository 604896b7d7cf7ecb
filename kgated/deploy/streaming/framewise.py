"""Layers that act on each frame alone: a block gives the same results as a sequence."""

from typing import Any

import keras

from kgated.deploy.streaming.context import Handler, Handlers, StreamContext
from kgated.deploy.streaming.unsupported import check_axis, unsupported
from kgated.framewise import (
    FRAMEWISE,
    Framewise,
    has_weights_per_frame,
    same_for_all_frames,
)


def _per_frame(context: StreamContext, layer: keras.Layer, x: Any, **kwargs: Any) -> Any:
    check_axis(layer, len(x.shape))
    if has_weights_per_frame(layer):
        raise unsupported(layer, "it has a weight per frame; build it with `shared_axes=[1]`")
    return context.timed(layer(x, **kwargs))


def _embedding(context: StreamContext, layer: keras.layers.Embedding, x: Any) -> Any:
    context.tokens[id(x)] = min(layer.input_dim, context.tokens.get(id(x), layer.input_dim))
    return context.timed(layer(x))


def _merge(context: StreamContext, layer: keras.Layer, inputs: list[Any], **kwargs: Any) -> Any:
    symbolic = [x for x in inputs if isinstance(x, keras.KerasTensor)]
    constants = [x for x in inputs if not isinstance(x, keras.KerasTensor)]
    rank, size = len(symbolic[0].shape), symbolic[0].shape[1]
    check_axis(layer, rank)
    alike = all(context.has_time(x) and x.shape[:2] == (x.shape[0], size) for x in symbolic)
    broadcast = not constants or type(layer).__name__ != "Concatenate"
    broadcast = broadcast and all(same_for_all_frames(x, rank) for x in constants)
    if not alike or not broadcast or any(len(x.shape) != rank for x in symbolic):
        raise unsupported(
            layer, "its inputs must be sequences of as many frames each, with as many axes"
        )
    return context.timed(layer(inputs, **kwargs))


def _elementwise(context: StreamContext, operation: Any, *args: Any, **kwargs: Any) -> Any:
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if len(getattr(x, "shape", ()))]
    symbolic = [x for x in tensors if isinstance(x, keras.KerasTensor)]
    rank = max(len(x.shape) for x in symbolic)
    # A constant such as a weight is the same for all frames where it has no axis of time.
    constants = [x for x in tensors if not isinstance(x, keras.KerasTensor)]
    alike = all(context.has_time(x) and x.shape[:2] == symbolic[0].shape[:2] for x in symbolic)
    if not alike or not all(same_for_all_frames(x, rank) for x in constants):
        raise unsupported(
            operation, "it may combine frames only with numbers and with like sequences"
        )
    if any(len(x.shape) != rank for x in symbolic):
        raise unsupported(operation, "its operands must have as many axes each")
    return context.timed(operation(*args, **kwargs))


def _time_distributed(
    context: StreamContext, layer: keras.layers.TimeDistributed, x: Any, **kwargs: Any
) -> Any:
    return context.timed(context.call_whole(layer, x, **kwargs))


def _handler_of(row: Framewise) -> Handler:
    if row.merges:
        return Handler(_merge)
    return Handler(_elementwise if isinstance(row.kind, str) else _per_frame)


HANDLERS: Handlers = {
    **{row.kind: _handler_of(row) for row in FRAMEWISE if row.streams},
    keras.layers.Embedding: Handler(_embedding, reads_tokens=True),
    keras.layers.TimeDistributed: Handler(_time_distributed),
}
