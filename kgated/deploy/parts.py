"""The layers of a model that conversion can treat one by one."""

import keras

from kgated.deploy.convert import subject_of
from kgated.deploy.lowering.converter import lower
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.flatbuffer import parse
from kgated.deploy.tflite.layer_names import owners, scope


def layers_of(
    model: keras.Model, recipe: Recipe, length: int | None = None, max_length: int | None = None
) -> tuple[str, ...]:
    """The names that `skip` takes: layers that leave operators in the file, in their order.

    Others vanish on the way: dropout, or a normalization folded into a convolution. Of the recipe,
    mode, quantization and lowering count; the arguments and the errors are those of `to_tflite`.
    """
    recipe, graph, _ = subject_of(model, recipe, length, max_length)
    subgraphs = parse(lower(graph, recipe)).subgraphs
    seen = {owner for subgraph in subgraphs for owner in owners(subgraph)}
    # Operations between layers, such as those of a mask, have names that change from run to run.
    layers = {layer.name for layer in model._flatten_layers()}
    found = (name for name in graph.owners.values() if name in layers and scope(name) in seen)
    return tuple(dict.fromkeys(found))
