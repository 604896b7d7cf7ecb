"""Integers in the loops of a file: the body of each WHILE is quantized as a stream of its own.

`partition` cuts a float file at its loops, `trace` runs it to take samples for each part, and
`stitch` writes one file of the quantized parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.loops.partition import has_loops, partition_loops
from kgated.deploy.quantization.loops.stitch import stitch_parts
from kgated.deploy.quantization.loops.trace import trace_parts
from kgated.deploy.quantization.scales.shared_scales import SharedScales
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import scope_name

Samples = Sequence[dict[str, np.ndarray]]
Quantize = Callable[[FloatFile, Recipe, Samples, SharedScales], schema.ModelT]

__all__ = ["has_loops", "quantize_loops"]


def quantize_loops(
    file: FloatFile, recipe: Recipe, samples: Samples, quantize: Quantize
) -> schema.ModelT:
    """The file with the bodies of its loops in integers, too.

    Args:
        file: a float file with one signature, of whole sequences.
        recipe: a static one.
        samples: the signature's inputs by name.
        quantize: quantizes a file without loops.
    """
    parts = partition_loops(file)
    traced = trace_parts(file.content, parts, samples)
    main = quantize(parts.main, _recipe_for(recipe, parts.main), traced.main, ())
    bodies = {
        index: quantize(
            body.file, _recipe_for(recipe, body.file), traced.bodies[index], body.shared
        )
        for index, body in parts.bodies.items()
    }
    return stitch_parts(file.model, parts, main, bodies)


def _recipe_for(recipe: Recipe, part: FloatFile) -> Recipe:
    """The recipe for a part, which has some of the layers."""
    layers = part.layers.layers(part.model)
    return replace(recipe, skip=tuple(name for name in recipe.skip if scope_name(name) in layers))
