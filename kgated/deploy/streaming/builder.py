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
from kgated.keras_internals.graph import check_graph, output_names, replay

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
        results_per_step: how many results r of each output a step has; they are (1, r, *output)
            where r is above 1.
        results_left_out: how many results of the Keras model a step has before each of its own.
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
    results_per_step: int = 1
    results_left_out: int = 0
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
    block: int = 1,
    results: str = "auto",
) -> StepModel:
    """One step of `model`, with `block` frames; for 1, as few as its strides allow."""
    check_graph(model)
    check_preprocessing(model)
    size, only_last = block, results == "last"
    while True:
        try:
            context = StreamContext(size, handlers, affine, batch, lowering, block > 1, only_last)
            return _checked(_build(model, context), model, results)
        except LargerBlockError as error:
            if block > 1:
                stride = build(model, handlers, affine, batch, lowering).frames_per_step
                raise ValueError(
                    f"`block` must hold whole strides of the layers of model `{model.name}`: give "
                    f"a multiple of {stride}. Received: {block}"
                ) from None
            (size,) = error.args


def _checked(step: StepModel, model: keras.Model, results: str) -> StepModel:
    if results == "each" and not all(step.has_time):
        name = next(n for n, timed in zip(step.outputs, step.has_time, strict=True) if not timed)
        raise ValueError(
            f"`results='each'` needs a result per frame, and output `{name}` of model "
            f"`{model.name}` has one for the sequence up to now; take `results='last'`, or build "
            "its last recurrent layer with `return_sequences=True`"
        )
    return step


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
        _results_per_step(model, context),
        context.results_left_out,
    )


def _results_per_step(model: keras.Model, context: StreamContext) -> int:
    """How many results each output has; `ConversionError` where they differ."""
    if len(context.result_counts) > 1:
        raise ConversionError(
            f"outputs of model `{model.name}` have {sorted(context.result_counts)} results for "
            f"every {context.size} frames; make them models of their own, or take "
            '`results="last"` with `block`'
        )
    return next(iter(context.result_counts))


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
