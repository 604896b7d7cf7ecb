"""The operators that TensorFlow Lite Micro has kernels for."""

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy import flatbuffer
from kgated.deploy.fused.operator import INPUTS, SLOTS, operator_code
from kgated.deploy.scopes import owners
from kgated.deploy.unused import drop_unused
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


def with_known_operators(tflite: bytes) -> bytes:
    """The same file with SELECT_V2, which the runtime has, for SELECT, which it has not."""
    model, code = flatbuffer.parse(tflite), schema.BuiltinOperator
    changed = False
    for _, operator in flatbuffer.operators(model):
        if flatbuffer.operator_name(model, operator) == "SELECT":
            operator.opcodeIndex = len(model.operatorCodes)
            model.operatorCodes.append(operator_code(code.SELECT_V2, 1))
            operator.builtinOptionsType = schema.BuiltinOptions.SelectV2Options
            operator.builtinOptions = schema.SelectV2OptionsT()
            changed = True
    drop_unused(model)
    return flatbuffer.pack(model, len(tflite)) if changed else tflite


def check_operators(tflite: bytes) -> tuple[str, ...]:
    """The operators of a file, sorted by name, all of which the runtime has.

    Raises:
        ConversionError: one it has not, by name, with the layer that it comes from; a tensor
            without a fixed size.
    """
    model = flatbuffer.parse(tflite)
    _check_shapes(model)
    found = set()
    for subgraph in model.subgraphs:
        for operator, layer in zip(subgraph.operators, owners(subgraph), strict=True):
            name = flatbuffer.operator_name(model, operator)
            kinds = {subgraph.tensors[n].type for n in operator.outputs}
            _check(name, operator, layer, schema.TensorType.INT16 in kinds)
            found.add(name)
    return tuple(sorted(found))


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
            "Replace the layer or its activation; a Masking layer can go where no frame is padding"
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
