"""The rules and the call of the `ai-edge-quantizer`, which quantizes each operator of a file."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from kgated_edge.format.manifest import SIGNATURES

from kgated.deploy.quantization.calibration import Ranges
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.float_file import FloatFile
from kgated.deploy.tflite.layer_table import scope_name
from kgated.errors import ConversionError, first_line
from kgated_worker import begin

# A mask asks whether a frame is padding; rounded values would answer otherwise, and the integer
# kernels take no scale above 1.
FLOAT_OPERATORS = ("NOT_EQUAL", "EQUAL")
TENSORWISE = "TENSORWISE"
ANY = ".*"
ANY_BUT_LATER = "(?:)"  # as wide as ANY, but a rule of its own, which takes precedence


def rules_for(recipe: Recipe, file: FloatFile) -> Any:
    """The quantizer's rules; the last one that matches an operator counts.

    Raises:
        ConversionError: a layer of `recipe.skip` has no operator.
    """
    from ai_edge_quantizer.recipe_manager import AlgorithmName, RecipeManager

    rules = RecipeManager()
    if recipe.is_static:
        _add_static_rules(rules, recipe)
    elif recipe.quantization.has_integer_weights:
        _add_dynamic_rules(rules, recipe.quantization.weight_bits)
    else:
        bits = recipe.quantization.weight_bits
        rules.add_weight_only_config(ANY, "*", bits, algorithm_key=AlgorithmName.FLOAT_CASTING)
    for pattern in _patterns(file, recipe.skip):
        rules.add_quantization_config(pattern, "*", None, AlgorithmName.NO_QUANTIZE)
    return rules


def apply_rules(tflite: bytes, rules: Any, ranges: Ranges | None) -> schema.ModelT:
    """The file that the quantizer makes by the rules, from ranges where they are static."""
    from ai_edge_quantizer import quantizer

    begin("the quantizer")
    job = quantizer.Quantizer(bytearray(tflite), rules.get_quantization_recipe())
    with _quietly():
        quantized = job.quantize(None if ranges is None else _without_axes(ranges))
        return flatbuffer.parse(bytes(quantized.quantized_model))


def _without_axes(ranges: Ranges) -> Ranges:
    """The ranges, those of one number as scalars.

    The quantizer gives a constant the scale of the operator's result, and fails where that scale
    has an axis and the constant has two or more.
    """
    return {
        name: {
            end: value.reshape(()) if value.size == 1 else value for end, value in limits.items()
        }
        for name, limits in ranges.items()
    }


def try_once(tflite: bytes, recipe: Recipe, sample: dict[str, np.ndarray]) -> None:
    """Run a file once on a sample in float32, to see whether its kernels take it.

    Raises:
        ConversionError: they don't. Some end the process instead.
    """
    from ai_edge_quantizer.utils import tfl_interpreter_utils as runner

    try:
        with _quietly():
            interpreter = runner.create_tfl_interpreter(tflite, num_threads=1)
        signature = SIGNATURES[recipe.mode]  # a file with sessions has more
        runner.invoke_interpreter_signature(interpreter, sample, signature, quantize_input=True)
    except Exception as error:
        raise ConversionError(
            f"the file of recipe {recipe.name} does not run ({first_line(error)}); calibrate on "
            "sequences that move every part of the model"
        ) from error


def _add_static_rules(rules: Any, recipe: Recipe) -> None:
    from ai_edge_quantizer.recipe_manager import AlgorithmName

    bits = recipe.quantization
    rules.add_static_config(ANY, "*", bits.activation_bits, bits.weight_bits)
    for operator in FLOAT_OPERATORS:
        rules.add_quantization_config(ANY, operator, None, AlgorithmName.NO_QUANTIZE)


def _add_dynamic_rules(rules: Any, bits: int) -> None:
    rules.add_dynamic_config(ANY, "*", 8)
    # What has no 4-bit kernel stays at 8.
    rules.add_dynamic_config(ANY_BUT_LATER, "*", bits)
    # A scale per token would take 12 bytes a token, more than it saves.
    rules.add_dynamic_config(ANY_BUT_LATER, "EMBEDDING_LOOKUP", bits, TENSORWISE)


def _patterns(file: FloatFile, skip: tuple[str, ...]) -> list[str]:
    """A pattern for each operator of the layers in `skip`, as the quantizer matches them."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    wanted, present = {scope_name(layer) for layer in skip}, file.layers.layers(file.model)
    if missing := [layer for layer in skip if scope_name(layer) not in present]:
        raise ConversionError(
            f"`skip` names layers that leave no operator in the file: {missing}; leave them out"
        )
    return [
        f"^{re.escape(get_op_scope(operator, graph.tensors))}$"
        for graph, operator in flatbuffer.operators(file.model)
        if file.layers.layer(graph, operator) in wanted
    ]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the quantizer's summary, progress bars, and warning of its own choice."""
    hidden = io.StringIO()
    stdout, stderr = contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden)
    with stdout, stderr, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        yield
