"""Which form the steps of a sequence take, where the recipe has `lowering="auto"`."""

from dataclasses import replace

import keras
import numpy as np

from kgated.cells import LSTMCell, PeepholeLSTMCell
from kgated.deploy.recipe import Recipe
from kgated.deploy.sequence.fused_lstm import check_fusable
from kgated.deploy.sequence.rnn import Lowering
from kgated.errors import ConversionError
from kgated.keras_internals.graph import flatten_layers
from kgated.layers import to_gated

# The kernels hold the weights of every unrolled step: above this size the caches no longer hold
# them, and a loop over one copy is faster. Measured on x86-64.
MAX_UNROLLED_BYTES = 6_000_000
MAX_UNROLLED_BYTES_STATIC = 4_000_000
BYTES_PER_WEIGHT = {"none": 4.0, "float16": 4.0, "dynamic": 1.0, "dynamic4": 0.5}
# The graph of an unrolled step, and of a whole loop, in a file. Above 256 steps a conversion takes
# a minute or more, and a loop is as fast.
BYTES_PER_STEP, BYTES_PER_LOOP, MAX_FILE_RATIO, MAX_UNROLLED_STEPS = 1_300, 10_000, 8, 256
# To quantize an unrolled step takes a quarter of a second.
MAX_STEPS_STATIC, MAX_STEPS_MCU = 64, 256


def choose_lowering(recipe: Recipe, model: keras.Model, length: int, padded: bool) -> Recipe:
    """The recipe with "auto" decided.

    A microcontroller gets its runtime's own LSTM operator where every recurrent layer is a plain
    LSTM, else unrolled steps. On other devices the sizes of the weights and of the graph decide.

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
        if length > MAX_STEPS_MCU:
            raise ValueError(
                f"`target='mcu'` unrolls every step, too many above {MAX_STEPS_MCU}; "
                "take `mode='stream'`, a `length` up to that, or `lowering='unrolled'` all the "
                f"same. Received: {length} steps"
            )
        return replace(recipe, lowering="unrolled")
    return replace(recipe, lowering="unrolled" if _fits(recipe, layers, length) else "while")


def block_lowering(recipe: Recipe, model: keras.Model) -> Lowering:
    """How the recurrent steps of a stream's block become operators.

    Integers, sessions, internal state and microcontrollers take no loop.

    Raises:
        ValueError: too many steps for them.
    """
    static = recipe.is_static or recipe.target == "mcu"
    if recipe.block == 1 or (not static and _fits(recipe, _recurrent(model), recipe.block)):
        return Lowering("unrolled")
    if not static and recipe.sessions == 1 and recipe.state == "external":
        return Lowering("while")
    if recipe.block > MAX_STEPS_STATIC:
        raise ValueError(
            f"`block` must be at most {MAX_STEPS_STATIC} with integers of a fixed range, "
            "`sessions`, internal state or a microcontroller, where each frame is in the graph. "
            f"Received: {recipe.block}"
        )
    return Lowering("unrolled")


def _fits(recipe: Recipe, layers: list[keras.layers.RNN], length: int) -> bool:
    """Whether unrolled steps are as fast as a loop, and their file is not much larger."""
    in_kernels = length * _max_weights(layers) * BYTES_PER_WEIGHT.get(recipe.quantize, 1.0)
    if recipe.is_static:
        return in_kernels <= MAX_UNROLLED_BYTES_STATIC and length <= MAX_STEPS_STATIC
    steps = length * len(layers)
    weights = sum(layer.count_params() for layer in layers)
    loop = BYTES_PER_LOOP * len(layers) + weights * BYTES_PER_WEIGHT[recipe.quantize]
    small = steps <= MAX_UNROLLED_STEPS and steps * BYTES_PER_STEP <= MAX_FILE_RATIO * loop
    return small and in_kernels <= MAX_UNROLLED_BYTES


def _recurrent(model: keras.Model) -> list[keras.layers.RNN]:
    return [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.RNN)]


def _max_weights(layers: list[keras.layers.RNN]) -> int:
    """The number of recurrent weights of the largest layer."""
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
