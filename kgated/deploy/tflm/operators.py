"""The operators that TensorFlow Lite Micro has kernels for."""

import copy

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer
from kgated.deploy.tflite.cleanup import eliminate_dead_code
from kgated.deploy.tflite.layer_table import LayerTable
from kgated.deploy.tflite.lstm_operator import INPUTS, SLOTS
from kgated.errors import ConversionError

# The builtin operators with a method in `tensorflow/lite/micro/micro_mutable_op_resolver.h` of
# github.com/tensorflow/tflite-micro, as of 2026-08-20.
_NAMES = """
ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND
BROADCAST_ARGS BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D
DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL
FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF
L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR
LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2
PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF
TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
"""
OPERATORS = frozenset(_NAMES.split())
LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
_CODES = schema.BuiltinOperator
MOST_JOINED = 10  # inputs of one CONCATENATION
# Of these the kernels take int8, and not int16.
INT8_ALONE = frozenset(("ELU", "EMBEDDING_LOOKUP", "GATHER", "HARD_SWISH", "RESIZE_BILINEAR"))
# The methods that are not the operator's name in capitals of words.
_METHODS = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    LSTM: "AddUnidirectionalSequenceLSTM",
}
# Its LSTM kernel knows the plain cell: of these inputs none may be there.
_PLAIN = {0, *(slot for (kind, _), slot in SLOTS.items() if kind in ("input", "recurrent", "bias"))}
_VARIANTS = {slot: kind for (kind, _), slot in SLOTS.items() if slot not in _PLAIN}


def method(operator: str) -> str:
    """The resolver's method that registers an operator."""
    words = (word if word[0].isdigit() else word.capitalize() for word in operator.split("_"))
    return _METHODS.get(operator, "Add" + "".join(words))


def use_known_operators(model: schema.ModelT, layers: LayerTable) -> None:
    """Write what the runtime lacks with other operators, where they can stand for it.

    SELECT_V2 for SELECT, `not all(not x)` for REDUCE_ANY, which masks ask, and a tree of
    CONCATENATION for one of more inputs than its kernel takes.
    """
    changed = False
    for graph, operator in list(flatbuffer.operators(model)):
        name = flatbuffer.operator_name(model, operator)
        if name == "SELECT":
            operator.opcodeIndex = flatbuffer.code_index(model, _CODES.SELECT_V2)
            operator.builtinOptionsType = schema.BuiltinOptions.SelectV2Options
            operator.builtinOptions = schema.SelectV2OptionsT()
        elif name == "REDUCE_ANY":
            _all_for_any(model, graph, operator, layers)
        elif name == "CONCATENATION" and len(operator.inputs) > MOST_JOINED:
            _join_in_parts(graph, operator, layers)
        else:
            continue
        changed = True
    if changed:
        eliminate_dead_code(model)


def _all_for_any(
    model: schema.ModelT, graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable
) -> None:
    """One REDUCE_ANY becomes a REDUCE_ALL between two LOGICAL_NOT."""
    source, result = operator.inputs[0], operator.outputs[0]
    shapes = [tuple(graph.tensors[n].shape) for n in (source, result)]
    none, every = (
        flatbuffer.add_tensor(graph, result, suffix, shape, schema.TensorType.BOOL)
        for suffix, shape in zip(("none", "every"), shapes, strict=True)
    )
    for tensor in (none, every):
        layers.inherit(graph, tensor, result)
    operator.opcodeIndex = flatbuffer.code_index(model, _CODES.REDUCE_ALL)
    operator.inputs, operator.outputs = [none, operator.inputs[1]], [every]
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        _negated(model, source, none),
        operator,
        _negated(model, every, result),
    ]


def _join_in_parts(graph: schema.SubGraphT, operator: schema.OperatorT, layers: LayerTable) -> None:
    """One CONCATENATION becomes several, of no more inputs each than the kernel takes."""
    result = operator.outputs[0]
    whole, axis = graph.tensors[result], operator.builtinOptions.axis
    while len(operator.inputs) > MOST_JOINED:
        parts = []
        for start in range(0, len(operator.inputs), MOST_JOINED):
            inputs = list(operator.inputs[start : start + MOST_JOINED])
            shape = [int(n) for n in whole.shape]
            shape[axis] = sum(int(graph.tensors[n].shape[axis]) for n in inputs)
            part = flatbuffer.add_tensor(graph, result, f"part_{start}", tuple(shape), whole.type)
            graph.tensors[part].quantization = whole.quantization
            layers.inherit(graph, part, result)
            joined = copy.copy(operator)
            joined.inputs, joined.outputs = inputs, [part]
            graph.operators.insert(graph.operators.index(operator), joined)
            parts.append(part)
        operator.inputs = parts


def _negated(model: schema.ModelT, source: int, result: int) -> schema.OperatorT:
    return schema.OperatorT(
        opcodeIndex=flatbuffer.code_index(model, _CODES.LOGICAL_NOT),
        inputs=[source],
        outputs=[result],
        builtinOptionsType=schema.BuiltinOptions.LogicalNotOptions,
        builtinOptions=schema.LogicalNotOptionsT(),
    )


def check_operators(model: schema.ModelT, layers: LayerTable) -> tuple[str, ...]:
    """The operators of a file, sorted by name, all of which the runtime has.

    Args:
        model: the file.
        layers: which layer each operator comes from.

    Raises:
        ConversionError: one it has not, by name, with the layer that it comes from; a tensor
            without a fixed size.
    """
    _check_shapes(model)
    names = set()
    for graph, operator in flatbuffer.operators(model):
        name = flatbuffer.operator_name(model, operator)
        kinds = {graph.tensors[n].type for n in operator.outputs}
        layer = layers.layer(graph, operator)
        _check(name, operator, layer, schema.TensorType.INT16 in kinds)
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


def _check(name: str, operator: schema.OperatorT, layer: str | None, int16: bool) -> None:
    where = f"layer `{layer}`" if layer else "the model"
    if name not in OPERATORS:
        raise ConversionError(
            f"{where} needs the operator {name}, which TensorFlow Lite Micro does not have. "
            "Replace the layer or its activation"
        )
    if int16 and name in INT8_ALONE:
        raise ConversionError(
            f"{where} needs the operator {name} in int16, which TensorFlow Lite Micro has in int8 "
            'alone. Convert with `quantize="int8"`'
        )
    if name == LSTM and len(operator.inputs) == INPUTS:
        there = {slot for slot, tensor in enumerate(operator.inputs) if tensor >= 0}
        kinds = sorted({_VARIANTS[slot] for slot in there & set(_VARIANTS)})
        if not there >= _PLAIN:
            kinds.append("coupled gates")
        if kinds:
            raise ConversionError(
                f"{where} has {', '.join(kinds)}, and TensorFlow Lite Micro's LSTM kernel computes "
                'the plain cell alone. Convert with `mode="stream"` or `lowering="unrolled"`'
            )
