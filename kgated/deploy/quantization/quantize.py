"""A float `.tflite` file becomes a quantized one, however it was made."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization import float_io
from kgated.deploy.quantization.calibration import Ranges, Samples, ranges
from kgated.deploy.quantization.loops import has_loops, quantize_loops
from kgated.deploy.quantization.lstm.int8 import write_integer
from kgated.deploy.quantization.lstm.ranges import Ranges as FusedRanges
from kgated.deploy.quantization.lstm.ranges import fused_ranges
from kgated.deploy.quantization.lstm.weights import has_fused, layer_of, write_half, write_hybrid
from kgated.deploy.quantization.range_rules import bounded, off_powers
from kgated.deploy.quantization.rewrites import with_lookups, with_products
from kgated.deploy.quantization.shared_scales import Ties, tied
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_names import owners, scope
from kgated.errors import ConversionError, first_line

DYNAMIC = ("dynamic", "dynamic4")  # the fused LSTM has no 4-bit kernel, and stays at 8
ACTIVATION_BITS = {"int8": 8, "int16x8": 16}
# A mask asks whether a frame is padding; rounded values would answer otherwise, and the integer
# kernels take no scale above 1.
FLOAT_OPERATORS = ("NOT_EQUAL", "EQUAL")
TENSORWISE = "TENSORWISE"
ANY = ".*"
ANY_BUT_LATER = "(?:)"  # as wide as ANY, but a rule of its own, which takes precedence


def quantize(
    tflite: bytes,
    recipe: Recipe,
    samples: Samples = (),
    ties: Ties = (),
    found: Ranges | None = None,
) -> bytes:
    """Quantize a float file.

    Args:
        tflite: a float file with one signature.
        recipe: what to make of it.
        samples: for "int8" and "int16x8": the signature's inputs by name, as real data and real
            states have them.
        ties: (input, output) of the signature that share scale and zero point, as a state's do.
        found: ranges by tensor name; None: those of the samples.

    Returns:
        The quantized file.

    Raises:
        ConversionError: a static recipe has no samples, an operator has no integer kernel, a layer
            of `recipe.skip` has no operator, tied tensors can't share a scale.
    """
    if recipe.quantize == "none":
        return tflite
    try:
        return _quantize(tflite, recipe, samples, ties, found)
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(
            f"the quantizer failed with recipe {recipe.name}: {first_line(error)}"
        ) from error


def try_once(tflite: bytes, recipe: Recipe, sample: dict[str, np.ndarray]) -> None:
    """Run a file once on a sample in float32, to see whether its kernels take it.

    Raises:
        ConversionError: they don't. Some end the process instead.
    """
    from ai_edge_quantizer.utils import tfl_interpreter_utils as runner

    try:
        with _quietly():
            interpreter = runner.create_tfl_interpreter(tflite, num_threads=1)
        runner.invoke_interpreter_signature(interpreter, sample, quantize_input=True)
    except Exception as error:
        raise ConversionError(
            f"the file of recipe {recipe.name} does not run ({first_line(error)}); calibrate on "
            "sequences that move every part of the model"
        ) from error


def _quantize(
    tflite: bytes, recipe: Recipe, samples: Samples, ties: Ties, found: Ranges | None
) -> bytes:
    if recipe.is_static and has_loops(tflite):
        return quantize_loops(tflite, recipe, list(samples), partial(_quantize, found=found))
    if recipe.quantize == "int16x8":
        tflite = with_products(tflite)
    tflite = tflite if recipe.is_static else with_lookups(tflite)
    rules = _rules(recipe, flatbuffer.parse(tflite))
    if not recipe.is_static:
        made = _apply(tflite, rules, None)
        write = write_hybrid if recipe.quantize in DYNAMIC else write_half
        return write(made, recipe.skip)
    samples = list(samples)
    learned, found = found is not None, found or ranges(tflite, rules, samples)
    if not found:
        raise ConversionError(f"recipe {recipe.name} needs samples to take its ranges from")
    found = bounded(tflite, found, ACTIVATION_BITS[recipe.quantize])
    if recipe.quantize == "int16x8" and not learned:  # training rounds to what it learned
        found = off_powers(tflite, found)
    seen = _seen_by_fused(tflite, recipe, samples)

    def apply(changed: Ranges) -> bytes:
        made = _apply(tflite, rules, changed)
        return float_io.open_float(write_integer(made, seen, recipe.skip) if seen else made)

    made = tied(tflite, found, ties, apply)
    _check_integer(made, recipe)
    return made


def _seen_by_fused(tflite: bytes, recipe: Recipe, samples: list) -> dict[str, FusedRanges]:
    """The ranges at each fused LSTM of the file, which the quantizer itself does not know."""
    seen = fused_ranges(tflite, samples) if has_fused(tflite) else {}
    layers = {layer_of(name) for name in seen} - set(map(scope, recipe.skip))
    if recipe.quantize != "int8" and layers:
        raise ConversionError(
            f"recipe {recipe.name} has no integer kernel for the fused LSTM of {sorted(layers)}; "
            'convert with `quantize="int8"` or `lowering="unrolled"`'
        )
    return seen


def _rules(recipe: Recipe, model: schema.ModelT) -> Any:
    """The quantizer's rules; the last one that matches an operator counts."""
    from ai_edge_quantizer.recipe_manager import AlgorithmName, RecipeManager

    rules = RecipeManager()
    if recipe.quantize == "float16":
        rules.add_weight_only_config(ANY, "*", 16, algorithm_key=AlgorithmName.FLOAT_CASTING)
    elif recipe.is_static:
        rules.add_static_config(ANY, "*", ACTIVATION_BITS[recipe.quantize], 8)
        for operator in FLOAT_OPERATORS:
            rules.add_quantization_config(ANY, operator, None, AlgorithmName.NO_QUANTIZE)
    else:
        rules.add_dynamic_config(ANY, "*", 8)
        bits = 4 if recipe.quantize == "dynamic4" else 8
        # What has no 4-bit kernel stays at 8.
        rules.add_dynamic_config(ANY_BUT_LATER, "*", bits)
        # A scale per token would take 12 bytes a token, more than it saves.
        rules.add_dynamic_config(ANY_BUT_LATER, "EMBEDDING_LOOKUP", bits, TENSORWISE)
    for pattern in _patterns(model, recipe.skip):
        rules.add_quantization_config(pattern, "*", None, AlgorithmName.NO_QUANTIZE)
    return rules


def _patterns(model: schema.ModelT, layers: tuple[str, ...]) -> list[str]:
    """A pattern for each operator of the layers, as the quantizer matches them."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    found, seen, wanted = [], set(), {scope(layer): layer for layer in layers}
    for subgraph in model.subgraphs:
        for operator, layer in zip(subgraph.operators, owners(subgraph), strict=True):
            if layer in wanted:
                found.append(f"^{re.escape(get_op_scope(operator, subgraph.tensors))}$")
                seen.add(wanted[layer])
    if missing := [layer for layer in layers if layer not in seen]:
        raise ConversionError(
            f"`skip` names layers that leave no operator in the file: {missing}; leave them out"
        )
    return found


def _apply(tflite: bytes, rules: Any, found: Ranges | None) -> bytes:
    from ai_edge_quantizer import quantizer

    job = quantizer.Quantizer(bytearray(tflite), rules.get_quantization_recipe())
    with _quietly():
        return bytes(job.quantize(found).quantized_model)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the quantizer's summary, progress bars, and warning of its own choice."""
    hidden = io.StringIO()
    stdout, stderr = contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden)
    with stdout, stderr, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        yield


def _check_integer(tflite: bytes, recipe: Recipe) -> None:
    """Refuse a static file with float operators that nobody asked for."""
    model = flatbuffer.parse(tflite)
    _check_products(model, recipe)
    left = {
        f"{name} (layer `{layer}`)"
        for name, layer in float_io.float_operators(model, recipe.skip)
        if name not in FLOAT_OPERATORS
    }
    if left:
        raise ConversionError(
            f"recipe {recipe.name} has no integer kernel for {', '.join(sorted(left))}; keep the "
            "layer in float by `skip`, or take a dynamic recipe"
        )


def _check_products(model: schema.ModelT, recipe: Recipe) -> None:
    """Refuse int8 operands of an int16 result: the quantizer takes a constant for a weight.

    Such is the zero state of a GRU both ways; the kernel would write integers of another size.
    """
    for subgraph in model.subgraphs:
        for operator, layer in zip(subgraph.operators, owners(subgraph), strict=True):
            if flatbuffer.operator_name(model, operator) != "FULLY_CONNECTED":
                continue
            one, result = (
                subgraph.tensors[operator.inputs[0]],
                subgraph.tensors[operator.outputs[0]],
            )
            types = flatbuffer.type_name(one), flatbuffer.type_name(result)
            if types == ("int8", "int16"):
                raise ConversionError(
                    f"recipe {recipe.name} has no kernel for the first step of layer `{layer}`, "
                    "whose state is a constant; take `quantize='int8'` (for a model trained in "
                    "integers, `scheme='int8'`), or a layer that goes one way"
                )
