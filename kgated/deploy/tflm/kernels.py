"""The kernels of TensorFlow Lite Micro (TFLM): the operators that it has, and their tensor types.

From `micro_mutable_op_resolver.h` and `kernels/*.cc` of github.com/tensorflow/tflite-micro, as of
2026-08-20, and RSQRT in int16 from the package `tflite-micro` of 2026-10-23. A kernel that does not
take a type may fail at the first call only, after `AllocateTensors` succeeded, so that a conversion
has to check the types.
"""

from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite import flatbuffer

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
MAX_CONCATENATED = 10  # inputs of one CONCATENATION

# By the types of its data input the operators that take just these.
_BY_TYPES = {
    "float32": """
        CEIL COS EXP FLOOR FLOOR_DIV FLOOR_MOD L2_POOL_2D LOG NEG ROUND SIN SQRT SQUARE""",
    "float32 int8": """
        ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND CUMSUM DEPTH_TO_SPACE ELU EMBEDDING_LOOKUP GATHER
        GATHER_ND HARD_SWISH L2_NORMALIZATION LOG_SOFTMAX REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR
        SPACE_TO_BATCH_ND SPACE_TO_DEPTH SVDF""",
    "float32 int8 int16": f"""
        ABS AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED
        LEAKY_RELU LOGISTIC MAX_POOL_2D MEAN PRELU RELU RELU6 RESIZE_NEAREST_NEIGHBOR RSQRT
        SELECT_V2 SOFTMAX SUM TANH TRANSPOSE TRANSPOSE_CONV {LSTM}""",
    "float32 int8 int32": "DIV",
    "float32 int8 int32 int64": "GREATER_EQUAL LESS LESS_EQUAL MIRROR_PAD ZEROS_LIKE",
    "float32 int8 int16 int32": """
        ADD DYNAMIC_UPDATE_SLICE MUL PAD PADV2 QUANTIZE SPLIT SPLIT_V SQUARED_DIFFERENCE SUB
        UNPACK""",
    "float32 int8 int16 int32 int64": "FILL GREATER MAXIMUM MINIMUM PACK",
    "float32 int8 int16 int32 bool": "CAST SLICE STRIDED_SLICE",
    "float32 int8 int32 int64 bool": "EQUAL NOT_EQUAL",
    "float32 int8 int16 int32 int64 bool": "CONCATENATION REVERSE_V2",
    "bool": "LOGICAL_AND LOGICAL_NOT LOGICAL_OR REDUCE_ALL",
    "int8 int16": "DEQUANTIZE",
}
TYPES = {name: types.split() for types, names in _BY_TYPES.items() for name in names.split()}
_ANY_TYPE = """
ASSIGN_VARIABLE BROADCAST_ARGS BROADCAST_TO CALL_ONCE IF READ_VARIABLE RESHAPE SHAPE SQUEEZE
VAR_HANDLE WHILE
"""
OPERATORS = frozenset((*TYPES, *_ANY_TYPE.split()))
# The maximum number of dimensions of the data, measured in the package; the others take 7 or more.
# Beyond it a kernel fails in `AllocateTensors`, and SLICE ends the process.
MAX_DIMENSIONS = {
    **{"L2_NORMALIZATION": 4, "STRIDED_SLICE": 4},
    **{"BATCH_MATMUL": 5, "BROADCAST_TO": 5, "PAD": 5, "PADV2": 5, "SLICE": 5, "TRANSPOSE": 5},
    **{"CONCATENATION": 6, "REVERSE_V2": 6},
}
# The input that has the data, where it is not the first one.
_DATA_INPUT = {
    **{"EMBEDDING_LOOKUP": 1, "FILL": 1, "SELECT_V2": 1, "SPLIT": 1},
    "TRANSPOSE_CONV": 2,
}
# The outputs of these have types of their own.
_OUTPUT_TYPES = {
    "CAST": ("float32", "int8", "int16", "int32"),
    "QUANTIZE": ("int8", "int16", "int32"),
}
# The methods whose names are not the operator's words in capitals.
_METHODS = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    LSTM: "AddUnidirectionalSequenceLSTM",
}


def method(operator: str) -> str:
    """The resolver's method that registers an operator."""
    words = (word if word[0].isdigit() else word.capitalize() for word in operator.split("_"))
    return _METHODS.get(operator, "Add" + "".join(words))


def unsupported_type(
    name: str, operator: schema.OperatorT, tensors: list[schema.TensorT]
) -> str | None:
    """The type of an operator's data that its kernel does not take; None where it takes all."""
    if name not in TYPES:
        return None
    data = flatbuffer.type_name(tensors[operator.inputs[_DATA_INPUT.get(name, 0)]])
    if data not in TYPES[name]:
        return data
    result = flatbuffer.type_name(tensors[operator.outputs[0]])
    return result if result not in _OUTPUT_TYPES.get(name, [result]) else None


def unsupported_dimensions(
    name: str, operator: schema.OperatorT, tensors: list[schema.TensorT]
) -> int | None:
    """The number of dimensions of an operator's data beyond what its kernel takes, or None."""
    rank = max(len(tensors[n].shape) for n in (operator.inputs[0], operator.outputs[0]))
    return rank if rank > MAX_DIMENSIONS.get(name, rank) else None
