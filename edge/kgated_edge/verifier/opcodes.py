"""Numbers of the TFLite schema that the verifier knows: operators and tensor types."""

from enum import IntEnum


class Op(IntEnum):
    """BuiltinOperator of the schema: the operators that a rule of the verifier names."""

    ADD = 0
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MUL = 18
    RELU = 19
    RESHAPE = 22
    SOFTMAX = 25
    TANH = 28
    GATHER = 36
    TRANSPOSE = 39
    MEAN = 40
    SUB = 41
    DIV = 42
    UNIDIRECTIONAL_SEQUENCE_LSTM = 44
    STRIDED_SLICE = 45
    SPLIT = 49
    MAXIMUM = 55
    MINIMUM = 57
    LESS = 58
    GREATER = 61
    GREATER_EQUAL = 62
    LESS_EQUAL = 63
    SELECT = 64
    SLICE = 65
    TRANSPOSE_CONV = 67
    EQUAL = 71
    NOT_EQUAL = 72
    SUM = 74
    REDUCE_MAX = 82
    LOGICAL_OR = 84
    LOGICAL_AND = 86
    REDUCE_ANY = 91
    SQUARED_DIFFERENCE = 99
    IF = 118
    WHILE = 119
    SELECT_V2 = 123
    BATCH_MATMUL = 126
    CALL_ONCE = 129
    CONV_3D = 132
    CONV_3D_TRANSPOSE = 141
    VAR_HANDLE = 142
    READ_VARIABLE = 143
    ASSIGN_VARIABLE = 144
    DYNAMIC_UPDATE_SLICE = 151


class TensorType(IntEnum):
    """TensorType of the schema, as far as a rule of the verifier names it."""

    INT32 = 2
    UINT8 = 3
    INT64 = 4
    STRING = 5
    INT16 = 7
    COMPLEX64 = 8
    INT8 = 9
    COMPLEX128 = 11
    RESOURCE = 13
    VARIANT = 14
    INT4 = 17
