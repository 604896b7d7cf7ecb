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

from kgated.deploy.quantization.ranges.calibration import Ranges
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
        _add_dynamic_rules(rules, recipe.quantization.weight_bits, file)
    else:
        bits = recipe.quantization.weight_bits
        rules.add_weight_only_config(ANY, "*", bits, algorithm_key=AlgorithmName.FLOAT_CASTING)
    for pattern in _patterns(file, recipe.skip):
        rules.add_quantization_config(pattern, "*", None, AlgorithmName.NO_QUANTIZE)
    return rules


def apply_rules(file: FloatFile, rules: Any, ranges: Ranges | None) -> tuple[schema.ModelT, Ranges]:
    """Quantize a float file by rules.

    Args:
        file: the float file.
        rules: as from `rules_for`.
        ranges: by tensor name; None where the rules have no static ones.

    Returns:
        The quantized file, and the ranges that its scales are of. A result whose kernel copies
        integers has the range of its operand there.
    """
    from ai_edge_quantizer import quantizer

    begin("the quantizer")
    job = quantizer.Quantizer(bytearray(file.content), rules.get_quantization_recipe())
    used = None if ranges is None else _with_rank(file.model, ranges)
    with _quietly():
        quantized = job.quantize(used)  # writes the ranges of copies into `used`
        return flatbuffer.parse(bytes(quantized.quantized_model)), used or {}


def _with_rank(model: schema.ModelT, ranges: Ranges) -> Ranges:
    """The ranges of one number each: of a constant with the constant's rank, of others as scalars.

    The quantizer adds axes to the scale of a constant until it has the constant's rank. It adds too
    many where the scale is of a result (SELECT, CONCATENATION) and has an axis, and too few where
    the constant is multiplied by weights and the scale has none.
    """
    ranks = {
        flatbuffer.tensor_name(tensor): len(tensor.shape)
        for graph in model.subgraphs
        for tensor in graph.tensors
        if model.buffers[tensor.buffer].data is not None
    }
    return {
        name: {
            end: value.reshape((1,) * ranks.get(name, 0)) if value.size == 1 else value
            for end, value in limits.items()
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
            "sequences that move every part of the model, and scale features of tiny numbers up"
        ) from error


def _add_static_rules(rules: Any, recipe: Recipe) -> None:
    from ai_edge_quantizer.recipe_manager import AlgorithmName

    bits = recipe.quantization
    rules.add_static_config(ANY, "*", bits.activation_bits, bits.weight_bits)
    for operator in FLOAT_OPERATORS:
        rules.add_quantization_config(ANY, operator, None, AlgorithmName.NO_QUANTIZE)


def _add_dynamic_rules(rules: Any, bits: int, file: FloatFile) -> None:
    rules.add_dynamic_config(ANY, "*", 8)
    # What has no 4-bit kernel stays at 8.
    rules.add_dynamic_config(ANY_BUT_LATER, "*", bits)
    # A scale per token would take 12 bytes a token, more than it saves.
    rules.add_dynamic_config(ANY_BUT_LATER, "EMBEDDING_LOOKUP", bits, TENSORWISE)
    # LiteRT reads the rows of 4 bits as if each began with a byte of its own.
    for pattern in _lookups_of_odd_rows(file) if bits == 4 else ():
        rules.add_dynamic_config(pattern, "EMBEDDING_LOOKUP", 8)


def _patterns(file: FloatFile, skip: tuple[str, ...]) -> list[str]:
    """A pattern for each operator of the layers in `skip`, as the quantizer matches them."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    wanted, present = {scope_name(layer) for layer in skip}, file.layers.layers(file.model)
    if missing := [layer for layer in skip if scope_name(layer) not in present]:
        raise ConversionError(
            f"`skip` names layers that leave no operator of their own in the file: {missing}; "
            "leave them out. One such as ReLU after Dense is part of the operator of the layer "
            "before: name that layer"
        )
    return [
        f"^{re.escape(get_op_scope(operator, graph.tensors))}$"
        for graph, operator in flatbuffer.operators(file.model)
        if file.layers.layer(graph, operator) in wanted
    ]


def _lookups_of_odd_rows(file: FloatFile) -> list[str]:
    """A pattern for each look-up in a table whose rows have an odd number of columns."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    return [
        f"^{re.escape(get_op_scope(operator, graph.tensors))}$"
        for graph, operator in flatbuffer.operators(file.model)
        if flatbuffer.operator_name(file.model, operator) == "EMBEDDING_LOOKUP"
        and int(graph.tensors[operator.inputs[1]].shape[-1]) % 2
    ]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the quantizer's summary, progress bars, and warning of its own choice."""
    hidden = io.StringIO()
    stdout, stderr = contextlib.redirect_stdout(hidden), contextlib.redirect_stderr(hidden)
    with stdout, stderr, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        yield
