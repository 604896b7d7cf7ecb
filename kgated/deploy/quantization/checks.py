"""Checks of a statically quantized file."""

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.quantization.quantizer_rules import FLOAT_OPERATORS
from kgated.deploy.quantization.rewrites.float_io import float_operators
from kgated.deploy.quantization.scales.shared_scales import SharedScales, unequal_pairs
from kgated.deploy.recipe import Recipe
from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.errors import ConversionError

# They ask where a number lies, which rounded numbers would answer otherwise; no float comes out.
_COMPARISONS = ("BUCKETIZE", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")


def check_is_integer(model: schema.ModelT, layers: LayerTable, recipe: Recipe) -> None:
    """Refuse float operators of layers that `skip` does not name.

    Raises:
        ConversionError: with the operators and their layers.
    """
    in_float = {
        f"{name} (layer `{layer}`)"
        for name, layer in float_operators(model, layers, recipe.skip)
        if name not in (*FLOAT_OPERATORS, *_COMPARISONS)
    }
    if in_float:
        raise ConversionError(
            f"recipe {recipe.name} has no integer kernel for {', '.join(sorted(in_float))}; keep "
            "the layer in float by `skip`, or take a dynamic recipe"
        )


def check_constant_operands(model: schema.ModelT, layers: LayerTable, recipe: Recipe) -> None:
    """Refuse an int8 operand of an int16 product: the quantizer takes a constant for a weight.

    Such is the zero state of a bidirectional GRU; the kernel would write integers of another size.

    Raises:
        ConversionError: with the layer.
    """
    for graph, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) != "FULLY_CONNECTED":
            continue
        ends = (graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]])
        if tuple(map(flatbuffer.type_name, ends)) == ("int8", "int16"):
            raise ConversionError(
                f"recipe {recipe.name} has no kernel for the first step of layer "
                f"`{layers.layer(graph, operator)}`, whose state is a constant; take "
                "`quantize='int8'` (for a model trained in integers, `scheme='int8'`), or a layer "
                "that goes one way"
            )


def check_shared(model: schema.ModelT, shared: SharedScales) -> None:
    """Refuse a state that goes out in another scale than it comes in.

    Raises:
        ConversionError: with the states.
    """
    if unequal := unequal_pairs(model, shared):
        raise ConversionError(
            f"the quantized file is broken: input and output of {unequal} differ in scale; nothing "
            "was written. Try another `quantize`"
        )
