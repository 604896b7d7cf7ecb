"""Rules for each operator to process B streams at once.

An operator that has no rule here, or that mixes the first axis with others, is refused.
"""

from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kgated.deploy.tflite.batched_graph import BatchedGraph, BatchError

Rule = Callable[[BatchedGraph, schema.OperatorT], None]
_BEGIN_END = "takes a part of its first axis"
_FIRST_AXIS = "works along its first axis"


def _rowwise(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    """The first input holds the streams, all others are weights."""
    if any(int(n) in graph.streams for n in operator.inputs[1:]):
        raise BatchError("multiplies values of a stream with each other")


def _elementwise(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    """Operands broadcast against each other; the first axis must not move."""
    streams = [graph.shape(int(n)) for n in operator.inputs if int(n) in graph.streams]
    rank = max(map(len, streams))
    first = next(shape[0] for shape in streams if len(shape) == rank)
    for place, n in enumerate(map(int, operator.inputs)):
        _fit_operand(graph, operator, place, rank, first, n in graph.streams)


def _fit_operand(
    graph: BatchedGraph,
    operator: schema.OperatorT,
    place: int,
    rank: int,
    first: int,
    is_stream: bool,
) -> None:
    """Let an operand broadcast against others of `rank` axes, the first of size `first`."""
    shape = graph.shape(int(operator.inputs[place]))
    if is_stream and len(shape) < rank and shape[0] == 1:
        # The axes that broadcasting puts in front come after that of the streams now.
        graph.reshape_input(operator, place, (1,) * (rank - len(shape) + 1) + shape[1:])
    elif len(shape) > rank or (is_stream and (len(shape), shape[0]) != (rank, first)):
        raise BatchError("broadcasts the first axis")
    elif not is_stream and len(shape) == rank and (shape[0] != 1 or graph.is_int16(operator)):
        # The kernels of int16 round another way where they broadcast.
        graph.repeat(operator, place)


def _joining(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    """CONCATENATION and PACK do not broadcast: a constant is there once for each stream."""
    rank = len(graph.shape(int(operator.outputs[0])))
    _check_axes(operator.builtinOptions.axis, rank)
    for place, n in enumerate(map(int, operator.inputs)):
        if n not in graph.streams:
            graph.repeat(operator, place)


def _axis_option(name: str = "axis") -> Rule:
    def rule(graph: BatchedGraph, operator: schema.OperatorT) -> None:
        _rowwise(graph, operator)
        rank = len(graph.shape(int(operator.inputs[0])))
        _check_axes(getattr(operator.builtinOptions, name), rank)

    return rule


def _axis_input(place: int, source: int = 0, grows: bool = False) -> Rule:
    """The axes are a constant; with `grows` they count axes of the output, one more."""

    def rule(graph: BatchedGraph, operator: schema.OperatorT) -> None:
        rank = len(graph.shape(int(operator.inputs[source]))) + grows
        _check_axes(graph.integers(int(operator.inputs[place])), rank)

    return rule


def _check_axes(axes: object, rank: int) -> None:
    chosen = np.atleast_1d(np.asarray(axes)) % rank
    if not chosen.size or 0 in chosen:
        raise BatchError(_FIRST_AXIS)


def _reshape(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    shape = list(graph.shape(int(operator.outputs[0])))
    if not shape:
        raise BatchError("makes one number of all values")
    shape[0] *= graph.batch
    options = operator.builtinOptions
    if options is not None and options.newShape is not None and len(options.newShape):
        options.newShape = np.array(shape, np.int32)
    if len(operator.inputs) > 1:
        graph.set_integers(operator, 1, np.array(shape, np.int32))


def _broadcast_to(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    shape = graph.integers(int(operator.inputs[1])).copy()
    source = graph.shape(int(operator.inputs[0]))
    if len(source) != len(shape) or source[0] != shape[0]:
        raise BatchError("broadcasts the first axis")
    shape[0] *= graph.batch
    graph.set_integers(operator, 1, shape)


def _slice(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    source = graph.shape(int(operator.inputs[0]))
    begin, size = (graph.integers(int(n)) for n in operator.inputs[1:3])
    if begin[0] != 0 or size[0] not in (-1, source[0]):
        raise BatchError(_BEGIN_END)
    size = size.copy()
    size[0] = source[0] * graph.batch
    graph.set_integers(operator, 2, size)


def _strided_slice(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    source, options = graph.shape(int(operator.inputs[0])), operator.builtinOptions
    begin, end, strides = (graph.integers(int(n)) for n in operator.inputs[1:4])
    moved = (options.ellipsisMask | options.newAxisMask | options.shrinkAxisMask) & 1
    from_start = options.beginMask & 1 or begin[0] == 0
    to_end = options.endMask & 1 or end[0] >= source[0]
    if moved or not from_start or not to_end or strides[0] != 1:
        raise BatchError(_BEGIN_END)
    end = end.copy()
    end[0] = source[0] * graph.batch
    graph.set_integers(operator, 2, end)


def _transpose(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    if graph.integers(int(operator.inputs[1]))[0] != 0:
        raise BatchError("moves its first axis")


def _pad(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    if graph.integers(int(operator.inputs[1]))[0].any():
        raise BatchError("pads its first axis")


def _gather(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    """Rows of weights by the ids of each stream, or fixed places of each stream's values."""
    values, places = (int(n) in graph.streams for n in operator.inputs[:2])
    options, rank = operator.builtinOptions, len(graph.shape(int(operator.inputs[0])))
    if options.batchDims or (values and places):
        raise BatchError("looks up values of a stream by those of a stream")
    if places and options.axis != 0:
        raise BatchError(_FIRST_AXIS)
    if values:
        _check_axes(options.axis, rank)


def _lookup(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    if int(operator.inputs[1]) in graph.streams:
        raise BatchError("looks up values of a stream by those of a stream")


def _squeeze(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    _check_axes(operator.builtinOptions.squeezeDims, len(graph.shape(int(operator.inputs[0]))))


def _matmul(graph: BatchedGraph, operator: schema.OperatorT) -> None:
    shapes = [graph.shape(int(n)) for n in operator.inputs]
    streams = [int(n) in graph.streams for n in operator.inputs]
    if not streams[0] or min(map(len, shapes)) < 3 - (not streams[1]):
        raise BatchError("multiplies values of a stream with each other")


def _named(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: Mapping[str, Rule] = {
    **_named(
        _rowwise,
        "FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D SOFTMAX "
        "LOG_SOFTMAX L2_NORMALIZATION ONE_HOT CAST QUANTIZE DEQUANTIZE RESIZE_BILINEAR "
        "RESIZE_NEAREST_NEIGHBOR CONV_3D TOPK_V2 DEPTH_TO_SPACE SPACE_TO_DEPTH",
    ),
    **_named(
        _elementwise,
        "ADD SUB MUL DIV MAXIMUM MINIMUM POW SQUARED_DIFFERENCE FLOOR_DIV FLOOR_MOD ATAN2 LESS "
        "LESS_EQUAL GREATER GREATER_EQUAL EQUAL NOT_EQUAL LOGICAL_AND LOGICAL_OR SELECT SELECT_V2 "
        "PRELU LOGISTIC TANH RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 ELU GELU HARD_SWISH LEAKY_RELU "
        "EXP LOG SQRT RSQRT SQUARE ABS NEG SIN COS FLOOR CEIL ROUND SIGN LOGICAL_NOT ZEROS_LIKE",
    ),
    **_named(_joining, "CONCATENATION PACK"),
    **_named(_axis_option(), "UNPACK"),
    **_named(_axis_input(0, source=1), "SPLIT"),
    **_named(_axis_input(2), "SPLIT_V"),
    **_named(
        _axis_input(1),
        "MEAN SUM REDUCE_MAX REDUCE_MIN REDUCE_PROD REDUCE_ANY REDUCE_ALL ARG_MAX ARG_MIN CUMSUM "
        "REVERSE_V2",
    ),
    **_named(_axis_input(1, grows=True), "EXPAND_DIMS"),
    **_named(_reshape, "RESHAPE"),
    **_named(_broadcast_to, "BROADCAST_TO"),
    **_named(_slice, "SLICE"),
    **_named(_strided_slice, "STRIDED_SLICE"),
    **_named(_transpose, "TRANSPOSE"),
    **_named(_pad, "PAD PADV2 MIRROR_PAD"),
    **_named(_gather, "GATHER"),
    **_named(_lookup, "EMBEDDING_LOOKUP"),
    **_named(_squeeze, "SQUEEZE"),
    **_named(_matmul, "BATCH_MATMUL"),
}
