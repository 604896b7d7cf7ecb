"""Which form the steps of a whole sequence take, where the recipe says "auto"."""

from dataclasses import replace

import keras
import numpy as np

from kgated.cells import LSTMCell, PeepholeLSTMCell
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.fused_lstm import check_fusable
from kgated.errors import ConversionError
from kgated.keras_graph import flatten_layers
from kgated.layers import to_gated

# Steps written out each have weights of their own in the kernels' memory: past this many bytes of
# them the caches no longer hold, and a loop over one copy is faster. Measured on x86-64.
UNROLLED_BYTES = 6_000_000
UNROLLED_BYTES_STATIC = 4_000_000
BYTES_PER_WEIGHT = {"none": 4.0, "float16": 4.0, "dynamic": 1.0, "dynamic4": 0.5}
# To quantize a written step takes a quarter of a second.
LONGEST_STATIC, LONGEST_MCU = 64, 256


def choose_lowering(recipe: Recipe, model: keras.Model, length: int, padded: bool) -> Recipe:
    """The recipe with "auto" decided.

    A microcontroller gets its runtime's own LSTM operator where every recurrent layer is a plain
    LSTM, or each step written out; else the size of the weights decides.

    Args:
        recipe: for a sequence.
        model: the Keras model.
        length: T, in steps.
        padded: whether sequences may be shorter.

    Raises:
        ValueError: too many steps for a microcontroller.
    """
    if recipe.lowering != "auto":
        return recipe
    layers = _recurrent(model)
    if (recipe.target, recipe.quantize, padded) == ("mcu", "int8", False) and _plain(model, layers):
        return replace(recipe, lowering="fused")
    if recipe.target == "mcu":
        if length > LONGEST_MCU:
            raise ValueError(
                f"`target='mcu'` writes every step into the file, too many above {LONGEST_MCU}; "
                "take `mode='stream'`, a `length` up to that, or `lowering='unrolled'` all the "
                f"same. Received: {length} steps"
            )
        return replace(recipe, lowering="unrolled")
    written_out = length * _most_weights(layers) * BYTES_PER_WEIGHT.get(recipe.quantize, 1.0)
    small = written_out <= (UNROLLED_BYTES_STATIC if recipe.is_static else UNROLLED_BYTES)
    short = length <= LONGEST_STATIC or not recipe.is_static
    return replace(recipe, lowering="unrolled" if small and short else "while")


def _recurrent(model: keras.Model) -> list[keras.layers.RNN]:
    return [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.RNN)]


def _most_weights(layers: list[keras.layers.RNN]) -> int:
    """How many weights the state of the largest layer meets at each step."""
    kernels = [w for layer in layers for w in layer.weights if "recurrent_kernel" in w.path]
    return max((int(np.prod(w.shape)) for w in kernels), default=0)


def _plain(model: keras.Model, layers: list[keras.layers.RNN]) -> bool:
    """Whether all layers are what TensorFlow Lite Micro's LSTM kernel computes, without masks."""
    masks = (keras.layers.Masking, keras.layers.Embedding)
    if any(isinstance(x, masks) and getattr(x, "mask_zero", True) for x in flatten_layers(model)):
        return False
    return bool(layers) and all(_is_plain(to_gated(layer)) for layer in layers)


def _is_plain(layer: keras.layers.RNN) -> bool:
    cell = layer.cell
    if not isinstance(cell, LSTMCell) or isinstance(cell, PeepholeLSTMCell):
        return False
    if cell.coupled_gates or cell.projection_units or cell.layer_norm:
        return False
    try:
        check_fusable(layer)
    except ConversionError:
        return False
    return True
