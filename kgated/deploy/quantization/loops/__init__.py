"""Integers in the loops of a file: the body of each WHILE is quantized as a stream of its own.

`apart` takes a float file to pieces at its loops, `seen` runs it to know what meets each piece,
and `together` writes one file of the quantized pieces.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from kgated.deploy.quantization.loops.partition import has_loops, take_apart
from kgated.deploy.quantization.loops.stitch import put_together
from kgated.deploy.quantization.loops.trace import samples_of
from kgated.deploy.quantization.shared_scales import Ties
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_names import owners, scope

Samples = Sequence[dict[str, np.ndarray]]
Quantize = Callable[[bytes, Recipe, Samples, Ties], bytes]

__all__ = ["has_loops", "quantize_loops"]


def quantize_loops(tflite: bytes, recipe: Recipe, samples: Samples, quantize: Quantize) -> bytes:
    """A float file with loops in integers.

    Args:
        tflite: a float file with one signature, of whole sequences.
        recipe: a static one.
        samples: the signature's inputs by name.
        quantize: does it for a file without loops.
    """
    pieces = take_apart(tflite)
    met = samples_of(tflite, pieces, samples)
    main = quantize(pieces.main, _there(recipe, pieces.main), met.main, ())
    bodies = {
        index: quantize(body.tflite, _there(recipe, body.tflite), met.bodies[index], body.ties)
        for index, body in pieces.bodies.items()
    }
    return put_together(tflite, pieces, main, bodies)


def _there(recipe: Recipe, piece: bytes) -> Recipe:
    """The recipe for a piece, which has some of the layers."""
    model = flatbuffer.parse(piece)
    found = {layer for graph in model.subgraphs for layer in owners(graph)}
    return replace(recipe, skip=tuple(name for name in recipe.skip if scope(name) in found))
