"""A Keras model over sequences as a step over one frame, or a block of frames, and states."""

from collections.abc import Callable
from typing import Any

import keras

from kgated import steps
from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.inputs import inputs_of
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.streaming import conditional, convolution, framewise, pooling, recurrent, running
from kgated.deploy.streaming.builder import INPUT, StepModel, build
from kgated.deploy.streaming.context import Handlers
from kgated.deploy.streaming.unsupported import StreamError, checked
from kgated.errors import ConversionError

UNROLLED = Lowering("unrolled")
ANY_LENGTH = 16  # of a model without a length, to see whether it has a graph

__all__ = ["INPUT", "StepModel", "step_model"]

HANDLERS: Handlers = {
    **framewise.HANDLERS,
    **recurrent.HANDLERS,
    **convolution.HANDLERS,
    **pooling.HANDLERS,
    **conditional.HANDLERS,
    **running.HANDLERS,
}


def step_model(
    model: keras.Model,
    affine: Callable[..., Any] = steps.affine_joined,
    batch: int = 1,
    lowering: Lowering = UNROLLED,
    sequence_error: Callable[[keras.Model], Exception | None] | None = None,
    block: int = 1,
    results: str = "auto",
) -> StepModel:
    """One step of `model`, with the same weights.

    Args:
        model: a functional or Sequential model from (batch, time, features) or (batch, time)
            tokens, one input or several, of recurrent layers, causal convolution, pooling and
            layers that act on each frame alone.
        affine: computes `x·W + h·R + b` of a recurrent layer: one wide product as a rule, two where
            x and h need scales of their own.
        batch: how many streams run side by side.
        lowering: of recurrent layers over a sequence that is not the stream.
        sequence_error: why the model does not convert with `mode="sequence"` either, for the error;
            None: why it has no graph for it.
        block: frames per step; 1: as few as the strides allow.
        results: of a block: "each", "last" or "auto", as in `Recipe`.

    Returns:
        The step model. Result j is the Keras model's result on the first (j + 1) * k frames, or its
        j-th result on the whole sequence, where k frames make a result.

    Raises:
        ConversionError: a layer that can't stream, by name, with a remedy.
        ValueError: a `block` that does not hold whole strides; "each" of a model with one result.
    """
    try:
        return build(model, HANDLERS, affine, batch, lowering, block, results)
    except StreamError as error:
        raise checked(error, (sequence_error or _graph_error)(model)) from None


def _graph_error(model: keras.Model) -> ConversionError | None:
    """Why the model has no graph over whole sequences; None where it has one."""
    try:
        _, length = inputs_of(model)
        sequence_model(model, UNROLLED, length=length or ANY_LENGTH)
    except ConversionError as error:
        return error
    return None
