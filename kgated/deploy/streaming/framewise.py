"""Layers that act on each frame alone: called on a block they give what they give on a sequence."""

from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import Handler, Handlers, Walk
from kgated.deploy.streaming.unsupported import check_axis, refusal
from kgated.framewise import FRAMEWISE, Framewise, has_weights_per_frame
from kgated.keras_graph import for_inference


def _per_frame(walk: Walk, layer: keras.Layer, x: Any, **kwargs: Any) -> Any:
    check_axis(layer, len(x.shape))
    if has_weights_per_frame(layer):
        raise refusal(layer, "it has a weight per frame; build it with `shared_axes=[1]`")
    return walk.timed(layer(x, **kwargs))


def _embedding(walk: Walk, layer: keras.layers.Embedding, x: Any) -> Any:
    walk.tokens[id(x)] = min(layer.input_dim, walk.tokens.get(id(x), layer.input_dim))
    return walk.timed(layer(x))


def _merge(walk: Walk, layer: keras.Layer, inputs: list[Any], **kwargs: Any) -> Any:
    rank, size = len(inputs[0].shape), inputs[0].shape[1]
    check_axis(layer, rank)
    if not all(walk.has_time(x) and (len(x.shape), x.shape[1]) == (rank, size) for x in inputs):
        raise refusal(
            layer, "its inputs must be sequences of as many frames each, with as many axes"
        )
    return walk.timed(layer(inputs, **kwargs))


def _elementwise(walk: Walk, operation: Any, *args: Any, **kwargs: Any) -> Any:
    tensors = [x for x in keras.tree.flatten((args, kwargs)) if len(getattr(x, "shape", ()))]
    if not all(walk.has_time(x) and x.shape[:2] == tensors[0].shape[:2] for x in tensors):
        raise refusal(operation, "it may combine frames only with numbers and with like sequences")
    if len({len(x.shape) for x in tensors}) > 1:
        raise refusal(operation, "its operands must have as many axes each")
    return walk.timed(operation(*args, **kwargs))


def _time_distributed(walk: Walk, layer: keras.layers.TimeDistributed, x: Any, **_: Any) -> Any:
    inner = layer.layer
    if isinstance(inner, keras.layers.RNN | keras.layers.Bidirectional):
        raise refusal(layer, f"`{inner.name}` reads another sequence than the stream")
    return walk.timed(FrameByFrame(layer, walk.unique(f"{layer.name}_step"))(x))


class FrameByFrame(keras.layers.Layer):
    """A `TimeDistributed` layer on a block: (B, n, ...) to (B, n, ...), the frames as a batch."""

    def __init__(self, layer: keras.layers.TimeDistributed, name: str) -> None:
        super().__init__(name=name)
        self.layer = for_inference(layer.layer)
        self.supports_masking = True
        self.built = True

    def call(self, x: Any) -> Any:
        """The layer inside on each frame; see the class."""
        found = self.layer(ops.reshape(x, (-1, *x.shape[2:])))
        return ops.reshape(found, (*x.shape[:2], *found.shape[1:]))


def _handler_of(row: Framewise) -> Handler:
    if isinstance(row.kind, str):
        return Handler(_elementwise)
    return Handler(_merge if row.merges else _per_frame)


HANDLERS: Handlers = {
    **{row.kind: _handler_of(row) for row in FRAMEWISE if row.streams},
    keras.layers.Embedding: Handler(_embedding, reads_tokens=True),
    keras.layers.TimeDistributed: Handler(_time_distributed),
}
