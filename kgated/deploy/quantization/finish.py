"""The last passes over a file, of every recipe."""

from dataclasses import replace

from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import Manifest

from kgated.deploy import c, tflm
from kgated.deploy.manifest_writer import SPARE_BYTES, as_stored, embed
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.batched import add_batches
from kgated.deploy.tflite.cleanup import strip
from kgated.deploy.tflite.layer_table import LayerTable


def finish(model: schema.ModelT, layers: LayerTable, recipe: Recipe, manifest: Manifest) -> bytes:
    """The file with the operators of its target, stripped, with its manifest.

    Args:
        model: the converted or quantized file, which is changed.
        layers: which layer each operator comes from.
        recipe: what the file was made by.
        manifest: its tensors are described as the file has them; it can be overwritten in place.

    Raises:
        ConversionError: the target lacks an operator, with the layer that needs it; sessions
            can't be taken together.
    """
    if recipe.target == "mcu":
        tflm.use_known_operators(model, layers)
        tflm.check_operators(model, layers)
    elif recipe.target == "c" and recipe.mode == "stream":
        c.check_operators(model, layers)
    add_batches(model, recipe.session_sizes, layers)
    strip(model)
    manifest = replace(as_stored(manifest, model), sessions=recipe.session_sizes)
    return embed(model, manifest, spare=SPARE_BYTES)
