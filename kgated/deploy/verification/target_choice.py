"""The graph that a recipe converts, and the target that its file is compared with."""

import keras

from kgated import steps
from kgated.deploy.lowering.sequence_check import sequence_error
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.graph import SequenceGraph, sequence_model
from kgated.deploy.sequence.inputs import length_of
from kgated.deploy.sequence.lowering_choice import block_lowering, choose_lowering
from kgated.deploy.sequence.rnn import Lowering
from kgated.deploy.streaming import StepModel, step_model
from kgated.deploy.verification.reference import Reference
from kgated.deploy.verification.targets import Target, TargetSequence, TargetStream
from kgated.errors import ConversionError
from kgated.keras_internals.graph import check_graph, flatten_layers
from kgated_worker import begin


def target_of(
    model: keras.Model, recipe: Recipe, length: int | None, max_length: int | None
) -> tuple[Recipe, StepModel | SequenceGraph, Target]:
    """The recipe with every choice made, the graph to convert, and the verification target."""
    begin("the graph of the file")
    if recipe.mode == "sequence":
        check_graph(model)
        steps_of = length_of(model, length, max_length)
        recipe = choose_lowering(recipe, model, steps_of, padded=max_length is not None)
        lowering = Lowering(recipe.lowering, select=recipe.is_static)
        graph = sequence_model(model, lowering, length, max_length, recipe.batch)
        return recipe, graph, TargetSequence.of(model, graph, recipe.batch)
    if length is not None or max_length is not None:
        raise ValueError("`length` and `max_length` are for `mode='sequence'`: give it, or none")
    # Integers have one scale for [x, h]: the larger range would leave little of the smaller.
    affine = steps.affine if recipe.is_static else steps.affine_joined
    step = step_model(
        model,
        affine,
        recipe.batch,
        block_lowering(recipe, model),
        _no_sequence if recipe.target == "c" else sequence_error,
        recipe.block,
        recipe.results,
    )
    return recipe, step, TargetStream(Reference.of(model, step), recipe.batch)


def _no_sequence(_model: keras.Model) -> Exception:
    """Why a model that can't stream has no C sources of a sequence either."""
    return ConversionError(
        "`target='c'` runs a sequence as the steps of a stream; take `target='cpu'`"
    )


def layer_names(model: keras.Model, graph: StepModel | SequenceGraph) -> list[str]:
    """The layers of a graph, as `skip` takes them, without operations between layers."""
    layers = {layer.name for layer in flatten_layers(model)}
    return [name for name in dict.fromkeys(graph.owners.values()) if name in layers]
