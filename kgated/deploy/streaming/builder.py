"""A Keras model over sequences becomes one over a block of frames, its states in the open."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.deploy.streaming.context import NO_FRAMES, Handlers, LargerBlockError, Walk
from kgated.errors import ConversionError
from kgated.keras_graph import check_graph, output_names, replay

INPUT = "frame"


@dataclass(frozen=True)
class StepModel:
    """One step of a streaming model.

    Attributes:
        model: a Keras model from {frames, states} to {outputs, states}, names shared, batch fixed.
        frames: the names of the inputs that are no states, in the order of the Keras model.
        outputs: the names of its results, in the order of the Keras model.
        states: the names of the states, in the order of the graph.
        frames_per_step: how many frames k one step takes; the inputs are (1, k, *frame) where k is
            above 1, and (1, *frame) where it is 1; with a batch of B, B in place of 1.
        vocabulary: by input how many tokens there are, where a frame is a token.
        counters: names of layers that count frames for ever, in a state without bounds.
        owners: by name of a layer in `model`, the layer of the Keras model that it stands for.
    """

    model: keras.Model
    frames: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    frames_per_step: int
    vocabulary: dict[str, int]
    counters: tuple[str, ...]
    owners: dict[str, str]
    padded, single = False, ()  # as a whole sequence's may be otherwise

    def zeros(self) -> dict[str, Any]:
        """The state before the first frame."""
        shapes = {name: self.model.input[name].shape for name in self.states}
        return {name: ops.zeros(shape) for name, shape in shapes.items()}


def build(
    model: keras.Model, handlers: Handlers, affine: Callable[..., Any], batch: int
) -> StepModel:
    """One step of `model`, with as few frames per step as its strides allow."""
    check_graph(model)
    size = 1
    while True:
        try:
            return _build(model, Walk(size, handlers, affine, batch))
        except LargerBlockError as error:
            (size,) = error.args


def _build(model: keras.Model, walk: Walk) -> StepModel:
    frames = _frame_inputs(model, walk)
    results = [walk.unique(name) for name in output_names(model)]
    blocks = [walk.block(x) for x in frames.values()]
    found = keras.tree.flatten(replay(model, blocks, walk))
    outputs = {name: walk.result(model, x) for name, x in zip(results, found, strict=True)}
    return StepModel(
        keras.Model(frames | walk.inputs, outputs | walk.outputs),
        tuple(frames),
        tuple(outputs),
        tuple(walk.inputs),
        walk.size,
        {
            n: walk.tokens[id(x)]
            for n, x in zip(frames, blocks, strict=True)
            if id(x) in walk.tokens
        },
        tuple(walk.counters),
        walk.owners,
    )


def _frame_inputs(model: keras.Model, walk: Walk) -> dict[str, Any]:
    """The step model's inputs by name, those of two axes taken for tokens."""
    frames = {}
    for x in model.inputs:
        if len(x.shape) < 2 or None in x.shape[2:] or 0 in x.shape[2:]:
            raise ConversionError(
                f"model `{model.name}` takes inputs of shape {x.shape}; {NO_FRAMES}"
            )
        block = () if walk.size == 1 else (walk.size,)
        dtype = "int32" if len(x.shape) == 2 else "float32"
        name = walk.unique(x.name if len(model.inputs) > 1 else INPUT)
        shape = (walk.batch, *block, *x.shape[2:])
        frames[name] = keras.Input(batch_shape=shape, dtype=dtype, name=name)
    return frames
