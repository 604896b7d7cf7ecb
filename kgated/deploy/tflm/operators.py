"""Checks that TFLM has a kernel for every operator of a file."""

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.lstm_operator import INPUTS, SLOTS
from kgated.deploy.tflm.kernels import (
    LSTM,
    MAX_DIMENSIONS,
    OPERATORS,
    TYPES,
    unsupported_dimensions,
    unsupported_type,
)
from kgated.errors import ConversionError

# The LSTM kernel computes the plain cell: it needs these inputs and takes none of the variants'.
_PLAIN = {0, *(slot for (kind, _), slot in SLOTS.items() if kind in ("input", "recurrent", "bias"))}
_VARIANTS = {slot: kind for (kind, _), slot in SLOTS.items() if slot not in _PLAIN}


def check_operators(model: schema.ModelT, layers: LayerTable) -> tuple[str, ...]:
    """The operators of a file, sorted by name; the runtime has a kernel for each.

    Args:
        model: the file.
        layers: which layer each operator comes from.

    Raises:
        ConversionError: an operator without a kernel, or without one for the type or the number
            of dimensions of its tensors, with its name and the layer that it comes from; a tensor
            without a fixed size.
    """
    _check_shapes(model)
    names = set()
    for graph, operator in flatbuffer.operators(model):
        layer, name = layers.layer(graph, operator), flatbuffer.operator_name(model, operator)
        where = f"layer `{layer}`" if layer else "the model"
        _check_kernel(where, name, operator, graph.tensors)
        if name == LSTM and len(operator.inputs) == INPUTS:
            _check_plain_lstm(where, operator)
        names.add(name)
    return tuple(sorted(names))


def _check_shapes(model: schema.ModelT) -> None:
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if tensor.shapeSignature is not None and -1 in tensor.shapeSignature:
                raise ConversionError(
                    f"tensor `{flatbuffer.tensor_name(tensor)}` has the shape "
                    f"{list(tensor.shapeSignature)}, and TensorFlow Lite Micro needs fixed sizes. "
                    "Give the model's Input a fixed number of frames"
                )


def _check_kernel(
    where: str, name: str, operator: schema.OperatorT, tensors: list[schema.TensorT]
) -> None:
    if name not in OPERATORS:
        raise ConversionError(
            f"{where} needs the operator {name}, which TensorFlow Lite Micro does not have. "
            "Replace the layer or its activation"
        )
    if rank := unsupported_dimensions(name, operator, tensors):
        raise ConversionError(
            f"{where} needs the operator {name} of tensors with {rank} dimensions, and TensorFlow "
            f"Lite Micro has it for at most {MAX_DIMENSIONS[name]}. Replace the layer, or "
            "reshape its input to fewer dimensions"
        )
    kind = unsupported_type(name, operator, tensors)
    if kind is None:
        return
    remedy = "Replace the layer or its activation"
    if kind == "int16" and "int8" in TYPES[name]:
        remedy = 'Convert with `quantize="int8"`'
    raise ConversionError(
        f"{where} needs the operator {name} in {kind}, and TensorFlow Lite Micro has it in "
        f"{', '.join(TYPES[name])}. {remedy}"
    )


def _check_plain_lstm(where: str, operator: schema.OperatorT) -> None:
    slots = {slot for slot, tensor in enumerate(operator.inputs) if tensor >= 0}
    kinds = sorted({_VARIANTS[slot] for slot in slots & set(_VARIANTS)})
    if not slots >= _PLAIN:
        kinds.append("coupled gates")
    if kinds:
        raise ConversionError(
            f"{where} has {', '.join(kinds)}, and TensorFlow Lite Micro's LSTM kernel computes "
            'the plain cell alone. Convert with `mode="stream"` or `lowering="unrolled"`'
        )
