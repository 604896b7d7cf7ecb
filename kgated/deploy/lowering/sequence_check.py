"""Tries whether a model that can't stream converts with `mode="sequence"`."""

import keras

from kgated.deploy.lowering.converter import lower
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import sequence_model
from kgated.deploy.sequence.inputs import inputs_of
from kgated.deploy.sequence.lowering_choice import choose_lowering
from kgated.deploy.sequence.outputs import check_output, first_axis
from kgated.deploy.sequence.rnn import Lowering
from kgated.errors import ConversionError

FEW_FRAMES = 16  # of a model for any length


def sequence_error(model: keras.Model) -> Exception | None:
    """Why `mode="sequence"` does not take a model in float; None where it does.

    Args:
        model: that a stream was refused for.

    Returns:
        The error of the graph, of its outputs or of the converter. Without the TensorFlow backend
        of Keras, the converter is not asked.
    """
    try:
        _, length = inputs_of(model)
    except (ConversionError, ValueError) as error:
        return error
    reason = _error(model, length or FEW_FRAMES)
    if reason is None or length is not None:
        return reason
    return ConversionError(f"with `length={FEW_FRAMES}`, {reason}")


def _error(model: keras.Model, length: int) -> Exception | None:
    try:
        recipe = choose_lowering(Recipe("sequence"), model, length, padded=False)
        graph = sequence_model(model, Lowering(recipe.lowering), length=length)
        for name in graph.outputs:
            axes = first_axis(name, graph.single, is_sequence=True)
            check_output(name, graph.model.output[name], axes)
        if keras.backend.backend() == "tensorflow":
            lower(graph, recipe)
    except (ConversionError, ValueError) as error:
        return error
    return None
