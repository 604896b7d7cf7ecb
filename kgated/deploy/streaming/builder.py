"""A Keras model over sequences as a model over a block of frames, states in and out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from kgated.deploy.sequence.preprocessing import check_preprocessing
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.streaming.context import NO_FRAMES, Handlers, LargerBlockError, StreamContext
from kgated.errors import ConversionError, naming_layer
from kgated.keras_graph import check_graph, output_names, replay

INPUT = "frame"


@dataclass(frozen=True)
class StepModel:
    """One step of a streaming model.

    Attributes:
        model: a Keras model from {frames, states} to {outputs, states}, names shared, batch fixed.
        frames: the names of the inputs without the states, in the order of the Keras model.
        outputs: the names of its results, in the order of the Keras model.
        states: the names of the states, in the order of the graph.
        frames_per_step: how many frames k one step takes; the inputs are (1, k, *frame) where k is
            above 1, and (1, *frame) where it is 1; with a batch of B, B in place of 1.
        vocabulary: by input the number of tokens, where a frame is a token.
        counters: names of layers that count frames in a state without bounds.
        owners: by name of a layer in `model`, the layer of the Keras model that it stands for.
        has_time: for each output whether the Keras model has a result per step, and not one for
            the sequence up to now.
    """

    model: keras.Model
    frames: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    frames_per_step: int
    vocabulary: dict[str, int]
    counters: tuple[str, ...]
    owners: dict[str, str]
    has_time: tuple[bool, ...]
    padded, single = False, ()  # for a sequence they may differ

    def zeros(self) -> dict[str, Any]:
        """The state before the first frame."""
        shapes = {name: self.model.input[name].shape for name in self.states}
        return {name: ops.zeros(shape) for name, shape in shapes.items()}


def build(
    model: keras.Model,
    handlers: Handlers,
    affine: Callable[..., Any],
    batch: int,
    lowering: Lowering,
) -> StepModel:
    """One step of `model`, with as few frames per step as its strides allow."""
    check_graph(model)
    check_preprocessing(model)
    size = 1
    while True:
        try:
            return _build(model, StreamContext(size, handlers, affine, batch, lowering))
        except LargerBlockError as error:
            (size,) = error.args


def _build(model: keras.Model, context: StreamContext) -> StepModel:
    frames = _frame_inputs(model, context)
    results = [context.unique(name) for name in output_names(model)]
    blocks = [context.block(x) for x in frames.values()]
    tensors = keras.tree.flatten(replay(model, blocks, context))
    outputs = {name: context.result(model, x) for name, x in zip(results, tensors, strict=True)}
    with naming_layer(model):
        step = keras.Model(frames | context.inputs, outputs | context.outputs)
    return StepModel(
        step,
        tuple(frames),
        tuple(outputs),
        tuple(context.inputs),
        context.size,
        {
            name: context.tokens[id(x)]
            for (name, frame), x in zip(frames.items(), blocks, strict=True)
            if id(x) in context.tokens and frame.dtype == "int32"
        },
        tuple(context.counters),
        context.owners,
        tuple(context.has_time(x) for x in tensors),
    )


def _frame_inputs(model: keras.Model, context: StreamContext) -> dict[str, Any]:
    """The step model's inputs by name, those of two axes as tokens."""
    frames = {}
    for x in model.inputs:
        if len(x.shape) < 2 or None in x.shape[2:] or 0 in x.shape[2:]:
            raise ConversionError(
                f"model `{model.name}` takes inputs of shape {x.shape}; {NO_FRAMES}"
            )
        block = () if context.size == 1 else (context.size,)
        dtype = "int32" if len(x.shape) == 2 else "float32"
        name = context.unique(x.name if len(model.inputs) > 1 else INPUT)
        shape = (context.batch, *block, *x.shape[2:])
        frames[name] = keras.Input(batch_shape=shape, dtype=dtype, name=name)
    return frames
