"""A Keras model over sequences becomes a step over one frame, or a block of frames, and states."""

from collections.abc import Callable
from typing import Any

import keras

from kgated import steps
from kgated.deploy.streaming import convolution, framewise, pooling, recurrent
from kgated.deploy.streaming.builder import INPUT, StepModel, build
from kgated.deploy.streaming.context import Handlers

__all__ = ["INPUT", "StepModel", "step_model"]

HANDLERS: Handlers = {
    **framewise.HANDLERS,
    **recurrent.HANDLERS,
    **convolution.HANDLERS,
    **pooling.HANDLERS,
}


def step_model(
    model: keras.Model, affine: Callable[..., Any] = steps.affine_joined, batch: int = 1
) -> StepModel:
    """One step of `model`, with the same weights.

    Args:
        model: a functional or Sequential model from (batch, time, features) or (batch, time)
            tokens, one input or several, of recurrent layers, causal convolution, pooling and
            layers that act on each frame alone.
        affine: computes `x·W + h·R + b` of a recurrent layer: one wide product as a rule, two where
            x and h need scales of their own.
        batch: how many streams run side by side.

    Returns:
        The step model. Result j is what the Keras model says of the first (j + 1) * k frames, or
        its j-th result on the whole sequence, where k frames make a step.

    Raises:
        ConversionError: a layer that can't stream, by name, and the way out.
    """
    return build(model, HANDLERS, affine, batch)
